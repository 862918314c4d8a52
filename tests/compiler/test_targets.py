"""What a target's topology means."""

from __future__ import annotations

import pytest

from compiler.targets import CHIPS, GPU_SHARE, Machine, Platform, TargetError, machine_of, parse_topology
from dsl.check import load_checked
from dsl.declarations.targets import Target


def _machine(text: str, tmp_path: object) -> Machine:
    from pathlib import Path

    path = Path(str(tmp_path)) / "spec.mix"
    path.write_text(f"edition: 2026\n\ntarget here:\n{text}")
    module = load_checked(path).module
    assert module is not None
    target = module.find("here")
    assert isinstance(target, Target)
    return machine_of(target)


def test_a_pod(tmp_path: object) -> None:
    pod = "  platform: tpu\n  topology: v5e:16x16\n  memory: 16GiB\n  shard: {fsdp: 64, tensor: 4}\n"
    machine = _machine(pod, tmp_path)
    assert (machine.devices, machine.topology) == (256, "v5e:16x16")
    assert machine.memory == int(15.75 * 2**30), "what the compiler grants, where the target says more"
    assert dict(machine.shard) == {"fsdp": 64, "tensor": 4}


def test_gpus_of_two_hosts(tmp_path: object) -> None:
    machine = _machine("  platform: gpu\n  topology: h100:16\n", tmp_path)
    assert machine.hosts_and_gpus == "1x2x8"
    assert machine.memory == int(CHIPS["h100"].memory * GPU_SHARE)
    assert dict(machine.shard) == {"fsdp": 16}


def test_a_cpu_has_as_many_devices_as_its_mesh(tmp_path: object) -> None:
    machine = _machine("  platform: cpu\n  shard: {fsdp: 2, tensor: 2}\n", tmp_path)
    assert (machine.devices, machine.memory) == (4, None)


@pytest.mark.parametrize(
    ("text", "platform", "message", "help"),
    [
        ("v5e:16", "tpu", "how many devices", "v5e:4x4"),
        ("v5p:2x2", "tpu", "how many devices", "v5p:2x2x1"),
        ("h100", "gpu", "how many devices", "h100:8"),
        ("h100:0", "gpu", "how many devices", "h100:8"),
        ("h100:8", "tpu", "'h100' is no TPU", "v5e, v5p, v6e"),
        ("x:8", "gpu", "'x' is no GPU", "a100, h100, h200, b200"),
    ],
)
def test_what_is_no_topology(text: str, platform: Platform, message: str, help: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_topology(text, platform)
    assert message in caught.value.message
    assert help in caught.value.help


def test_no_topology(tmp_path: object) -> None:
    with pytest.raises(TargetError, match="doesn't say which devices"):
        _machine("  platform: tpu\n", tmp_path)
