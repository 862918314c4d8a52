"""What is read from a compiler's messages and from a program's text."""

from __future__ import annotations

from dataclasses import replace

from compiler.program.shapes import published
from runtime.compile.jobs import Job
from runtime.compile.memory import largest, refused

CONFIG = replace(published("qwen3_8b"), layers=36)
JOB = Job(name="midtrain", kind="train", config={}, rows=64, length=4096)
PROGRAM = """\
%fused_computation.1 (param: bf16[36,9000,12288]) -> bf16[36,9000,12288] {
  ROOT %inner = bf16[36,9000,12288]{2,1,0} add(%param, %param)
}

ENTRY %main (parameter: f32[36,4096,1536]) -> f32[151936,512] {
  %parameter = f32[36,8192,12288]{2,1,0} parameter(0)
  %kept = bf16[36,4096,12288]{2,1,0} fusion(%parameter), kind=kLoop, metadata={op_name="jit(step)/jvp()/while/body"}
  %gradient = f32[36,4096,1536]{2,1,0} fusion(%kept), kind=kLoop, metadata={op_name="jit(step)/transpose(jvp())/while"}
  %logits = f32[512,151936]{1,0} dot(%kept, %kept), metadata={op_name="jit(step)/jvp()/shard_map/while"}
  ROOT %small = f32[151936,512]{1,0} copy(%logits)
}
"""


def test_the_largest_arrays_and_the_field_to_change() -> None:
    found = largest(PROGRAM, JOB, CONFIG)
    assert [(each.what, each.bytes) for each in found[:2]] == [
        ("bf16[36,4096,12288]", 36 * 4096 * 12288 * 2),
        ("f32[36,4096,1536]", 36 * 4096 * 1536 * 4),
    ]
    assert "`remat: full`" in found[0].source
    assert "gradients" in found[1].source
    assert "logits" in next(each for each in found if each.what == "f32[512,151936]").source


def test_with_all_computed_again_only_the_micro_batch_is_left() -> None:
    found = largest(PROGRAM, JOB.model_copy(update={"remat": "full"}), CONFIG)
    assert "remat" not in found[0].source
    assert "micro_batch" in found[0].source


def test_a_refusal_says_how_much_it_would_take() -> None:
    message = (
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (117.25G) exceeds available HBM (15.75G). HLO module: jit_step.\nSee https://openxla.org/…"
    )
    stats = refused(RuntimeError(message), arguments=2**30)
    assert stats is not None
    assert stats.peak == 2**30 + int(117.25 * 2**30)
    assert stats.refused == message.splitlines()[0]


def test_another_error_is_no_refusal() -> None:
    assert refused(RuntimeError("INVALID_ARGUMENT: no"), arguments=1) is None
