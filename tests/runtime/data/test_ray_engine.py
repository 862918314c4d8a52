"""Ray as an engine, on a cluster of three nodes in this machine: the answers of one machine, whatever is lost."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pytest

from dsl.scalars import parse_text
from dsl.values import Predicate
from mixc.cli.main import main
from runtime.data.engine import Engine, inline
from runtime.data.ray_engine import ray_engine
from runtime.data.rows import Format, Rows
from runtime.data.store import store_digest
from runtime.data.tokenize import Consumer, measure, tokenize
from runtime.data.transforms.choose import filter_rows
from runtime.data.transforms.dedup import dedup_rows
from runtime.data.transforms.exclude import exclude_rows
from runtime.errors import UserError
from runtime.weights.tokenizer import ModelTokenizer
from tests.runtime.data.test_tokenize import content, rows_of

ROOT = Path(__file__).parents[3]
# Ray starts its processes by a fork, which JAX warns of where another test has imported it.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

T = TypeVar("T")
R = TypeVar("R")

WANTED = cast(Predicate, parse_text("predicate", "tokens in 90..340"))
SMALL = 4000
"""Bytes of a piece, so that there are many."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # all on loopback
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}
    soon = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}  # that a machine is lost
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False, "_system_config": soon})
    for _ in range(2):
        cluster.add_node(**node)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def engine(cluster: Any, tmp_path: Path) -> Engine:
    return ray_engine(cluster.address, tmp_path)


def scaled(factor: int, item: int) -> int:
    if item < 0:
        raise UserError(f"{item} is negative", "give another", place="numbers:7")
    time.sleep(0.05 if item % 7 == 0 else 0)  # some are late
    return factor * item


def impossible(item: int) -> int:
    raise ValueError(f"not {item}")


def dies(folder: Path, times: int, item: int) -> int:
    """Kills its process as often as told, at item 2."""
    before = len(list(folder.iterdir()))
    if item == 2 and before < times:
        (folder / str(before)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def slow(folder: Path, item: int) -> int:
    import ray

    (folder / ray.get_runtime_context().get_node_id()).touch()
    time.sleep(0.1)
    return item


def test_answers_come_in_order(engine: Engine) -> None:
    assert engine.workers == 3
    assert list(engine.map(partial(scaled, 3), range(100))) == [3 * item for item in range(100)]
    assert list(engine.map(partial(scaled, 3), [])) == []


def test_items_are_taken_in_windows(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.data.ray_engine._WINDOW", 10)
    items = iter(range(1000))
    answers = engine.map(partial(scaled, 1), items)
    assert [next(answers) for _ in range(15)] == list(range(15))
    assert next(items) == 20
    answers.close()
    assert list(engine.map(partial(scaled, 1), [1, 2])) == [1, 2]


def test_errors_come_through(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    answers = engine.map(partial(scaled, 1), [1, 2, -3, 4])
    assert [next(answers), next(answers)] == [1, 2]
    with pytest.raises(UserError) as caught:
        next(answers)
    error = caught.value
    assert (error.message, error.help, error.place) == ("-3 is negative", "give another", "numbers:7")
    with pytest.raises(ValueError, match="not 1"):
        list(engine.map(impossible, [1]))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_what_a_killed_worker_did_is_done_again(
    engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder, times in (("twice", 2), ("always", 99)):
        (tmp_path / folder).mkdir()
        answers = engine.map(partial(dies, tmp_path / folder, times), range(5))
        if folder == "twice":
            assert list(answers) == list(range(5))
        else:
            with pytest.raises(UserError, match="the Ray cluster lost workers 4 times at the same piece of work"):
                list(answers)
    assert capfd.readouterr() == ("", "")


def test_a_machine_that_does_not_see_the_folder(cluster: Any, tmp_path: Path) -> None:
    opened = os.open(tmp_path, os.O_RDONLY)
    try:
        folder = Path(f"/proc/self/fd/{opened}")  # another one, or none, in each process
        with pytest.raises(UserError) as caught:
            list(ray_engine(cluster.address, folder).map(partial(scaled, 1), [1]))
    finally:
        os.close(opened)
    assert caught.value.message.endswith(f"of the Ray cluster doesn't see the folder {folder}")
    assert "--store" in caught.value.help
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1: [Errno 111] Connection refused"),
        ("ray://127.0.0.1:1", "'ray://127.0.0.1:1' is no address of a Ray cluster"),
        ("auto", "'auto' is no address of a Ray cluster"),
    ],
)
def test_no_cluster(tmp_path: Path, address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(UserError) as caught:
        list(ray_engine(address, tmp_path).map(partial(scaled, 1), [1]))
    assert caught.value.message == message


def test_ray_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError) as caught:
        list(ray_engine(None, tmp_path).map(partial(scaled, 1), [1]))
    assert caught.value.help == "pip install 'mixc[ray]'"


def chats() -> list[dict[str, Any]]:
    """Some of them are near copies, and some say what an eval asks."""
    return [
        {
            "messages": [
                {
                    "role": "user",
                    "content": f"Question {number // 2}, " + " ".join(f"w{number // 2}x{n}" for n in range(40)),
                },
                {"role": "assistant", "content": "So " * (number // 2 % 50) + f"{number} it is."},
            ]
        }
        for number in range(400)
    ]


def documents() -> list[dict[str, Any]]:
    return [
        {"text": f"Story {number // 2}. " * (number // 2 % 50 + 1) + f"The end of it, {number}."}
        for number in range(400)
    ]


def transformed(rows: Rows, format: Format, consumer: Consumer, folder: Path, engine: Engine) -> list[Any]:
    """What comes out of each transform that asks for an engine, one after the other."""
    folder.mkdir(parents=True)
    measured = measure(rows, format, consumer, engine)
    fitting = filter_rows(rows.select(measured.kept), WANTED, format, measured.tokens, "tokens in 90..340")
    fitting = fitting.rows.save(folder / "fitting.parquet")
    distinct = dedup_rows(fitting, format, "minhash", Fraction(7, 10), folder / "distinct.parquet", engine)
    distinct_rows = distinct.rows.save(folder / "distinct.parquet")
    left = exclude_rows(distinct_rows, {"eval": distinct_rows.select(np.arange(3, 6))}, 13, engine)
    left_rows = left.rows.save(folder / "left.parquet")
    tokenized = tokenize(left_rows, format, consumer, folder / "tokens", engine)
    return [
        measured.tokens.tolist(),
        [fitting.digest, distinct_rows.digest, left_rows.digest, store_digest(tokenized.store)],
        [distinct.dropped, left.dropped, tokenized.set_aside],
    ]


@dataclass(frozen=True)
class LosesMachine:
    """An engine on a cluster that loses a machine after the fifth answer."""

    engine: Engine
    cluster: Any

    @property
    def workers(self) -> int:
        return self.engine.workers

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        for number, answer in enumerate(self.engine.map(work, items), 1):
            if number == 5:
                lose_machine(self.cluster, "any")
            yield answer


def lose_machine(cluster: Any, name: str) -> None:
    node = next(node for node in cluster.worker_nodes if name in ("any", node.node_id))
    cluster.remove_node(node, allow_graceful=False)


@pytest.mark.parametrize(
    ("format", "records"), [("chat", chats()), pytest.param("documents", documents(), marks=pytest.mark.slow)]
)
def test_transforms_give_the_same_bytes(
    engine: Engine,
    tmp_path: Path,
    smollm2: ModelTokenizer,
    format: Format,
    records: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (
        "runtime.data.tokenize",
        "runtime.data.similarity.near_duplicates",
        "runtime.data.similarity.overlap",
    ):
        monkeypatch.setattr(f"{module}.PIECE", SMALL)
    rows = rows_of(records).save(tmp_path / "rows.parquet")
    consumer = Consumer(smollm2, "assistant", {})
    expected = transformed(rows, format, consumer, tmp_path / "here", inline())
    assert transformed(rows, format, consumer, tmp_path / "ray", engine) == expected
    for dropped in expected[-1][:2]:
        assert sum(dropped.counts.values()) > 0
    assert content(tmp_path / "ray") == content(tmp_path / "here")


@pytest.mark.slow
def test_a_plan_is_the_same(cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["plan", str(ROOT / "specs" / "quickstart.mix"), "--json", "--store"]
    printed: list[str] = []
    for options in ([], ["--data-engine", "ray"]):
        assert main([*plan, str(tmp_path / str(len(options))), *options]) == 0
        printed.append(capsys.readouterr().out)
    assert json.loads(printed[0])["steps"]
    assert printed[0] == printed[1]


def test_tokens_are_the_same_when_a_machine_is_lost(
    cluster: Any, engine: Engine, tmp_path: Path, smollm2: ModelTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.data.tokenize.PIECE", SMALL)
    rows = rows_of(chats()).save(tmp_path / "rows.parquet")
    consumer = Consumer(smollm2, "assistant", {})
    before = engine.workers
    there = tokenize(rows, "chat", consumer, tmp_path / "ray", LosesMachine(engine, cluster))
    here = tokenize(rows, "chat", consumer, tmp_path / "here", inline())
    assert store_digest(there.store) == store_digest(here.store)
    assert content(tmp_path / "ray") == content(tmp_path / "here")
    assert engine.workers == before - 1


@pytest.mark.slow
def test_what_a_lost_machine_did_is_done_elsewhere(cluster: Any, engine: Engine, tmp_path: Path) -> None:
    names = {node.node_id for node in cluster.worker_nodes}
    answers = engine.map(partial(slow, tmp_path), range(1000))
    taken: list[int] = []
    while not (at_work := names & {path.name for path in tmp_path.iterdir()}):
        taken.append(next(answers))
    lose_machine(cluster, at_work.pop())
    taken.extend(islice(answers, 30))
    assert taken == list(range(len(taken)))
    answers.close()
