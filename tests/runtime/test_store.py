"""The store: a step is whole and there, or it isn't there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from compiler.steps import Result
from runtime.disk import MARK, disk_errors
from runtime.errors import UserError
from runtime.stopping import Stopped
from runtime.store import Store

ROOT = Path(__file__).parents[2]
KEY = "ab12"
RESULT = Result(key=KEY, content="cd34", facts={"rows": 3})


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, said: list[str]) -> Store:
    return Store(tmp_path / "runs", said.append)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk to fill, mounting one takes root: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> None:
    """Takes all the room that is left."""
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def write(store: Store) -> Path:
    with store.lock(KEY, "facts"), store.writing(KEY) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "rows.parquet").write_bytes(b"rows")
        store.finish(KEY, RESULT, "read", "facts")
    return store.folder(KEY)


def test_a_finished_step_is_found(store: Store) -> None:
    assert store.find(KEY) is None
    folder = write(store)
    assert store.find(KEY) == store.verify(KEY) == RESULT
    assert folder == store.root / "steps" / KEY
    assert (folder / "deep" / "rows.parquet").read_bytes() == b"rows"
    assert '"jax"' in (folder / MARK).read_text()


def test_an_unfinished_step_leaves_nothing(store: Store) -> None:
    with store.writing(KEY) as folder:
        (folder / "rows.parquet").write_bytes(b"rows")
    with pytest.raises(ZeroDivisionError), store.writing(KEY):
        raise ZeroDivisionError
    assert store.find(KEY) is None
    assert list((store.root / "steps").iterdir()) == []


def test_what_a_killed_process_left_is_removed(store: Store) -> None:
    left = store.root / "steps" / f"{KEY}.tmp"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"ro")
    assert not (write(store) / "half").exists()
    assert store.find(KEY) == RESULT


def test_a_step_over_several_lives_is_done_at_its_end(store: Store) -> None:
    (store.open(KEY) / "weights").write_bytes(b"1")
    assert store.find(KEY) is None
    (store.open(KEY) / "more").write_bytes(b"2")
    store.finish(KEY, RESULT, "train", "finetune")
    assert store.find(KEY) == RESULT
    assert store.open(KEY).joinpath("more").read_bytes() == b"2"
    assert store.find(KEY) is None


def test_checkpoints_with_a_mark_of_their_own_may_go(store: Store) -> None:
    weights = store.open(KEY) / "weights" / "7"
    weights.mkdir(parents=True)
    (weights / "done.json").write_text("{}")
    store.finish(KEY, RESULT, "train", "finetune")
    (weights / "done.json").unlink()
    assert store.find(KEY) == RESULT


@pytest.mark.parametrize("how", ["truncated", "missing", "mark cut", "mark flipped", "of another step"])
def test_a_damaged_step_counts_as_not_done_and_is_made_again(store: Store, said: list[str], how: str) -> None:
    folder = write(store)
    match how:
        case "truncated":
            (folder / "deep" / "rows.parquet").write_bytes(b"row")
        case "missing":
            (folder / "deep" / "rows.parquet").unlink()
        case "mark cut":
            (folder / MARK).write_bytes((folder / MARK).read_bytes()[:-9])
        case "mark flipped":
            (folder / MARK).write_bytes(b"\xff" + (folder / MARK).read_bytes()[1:])
        case _:
            (folder / MARK).write_text((folder / MARK).read_text().replace(KEY, "ffff"))
    assert store.find(KEY) is None
    assert store.find(KEY) is None
    assert len(said) == 1
    assert said[0].startswith(f"{folder} is damaged: ")
    write(store)
    assert store.find(KEY) == RESULT


@pytest.mark.parametrize("small", [True, False])
def test_changed_bytes_are_found_at_once_or_by_verify(
    store: Store, said: list[str], small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.disk.SMALL", 4 if small else 3)
    folder = write(store)
    (folder / "deep" / "rows.parquet").write_bytes(b"rowz")
    assert store.find(KEY) == (None if small else RESULT)
    assert store.verify(KEY) is None
    assert said == [
        f"{folder} is damaged: the bytes of deep/rows.parquet have changed (read facts); the step is run again"
    ]


HOLD = """
import sys, time
from pathlib import Path
from compiler.steps import Result
from runtime.store import Store
store = Store(Path(sys.argv[1]))
with store.lock("ab12", "facts"):
    print("locked", flush=True)
    sys.stdin.readline()
    with store.writing("ab12") as folder:
        (folder / "rows").write_text("theirs")
        store.finish("ab12", Result(key="ab12", content="cd34"), "read", "facts")
"""


@pytest.fixture
def holder(store: Store) -> Iterator[subprocess.Popen[str]]:
    """Another process that is at the step, until a line is written to it or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_waits_and_finds_the_step_done(
    store: Store, said: list[str], holder: subprocess.Popen[str]
) -> None:
    def release() -> None:
        while not said:
            time.sleep(0.01)
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()

    thread = Thread(target=release)
    thread.start()
    assert store.find(KEY) is None
    with store.lock(KEY, "facts"):
        assert store.find(KEY) == Result(key=KEY, content="cd34")
    thread.join()
    assert said == [f"facts: another process (pid {holder.pid}) is at it; waiting until it has finished"]


def test_kill_9_frees_the_step(store: Store, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    with store.lock(KEY, "facts"):
        assert store.find(KEY) is None


def test_waiting_can_be_stopped(store: Store, said: list[str], holder: subprocess.Popen[str]) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Stopped), store.lock(KEY, "facts", stop):
        pass


def test_full_disk_is_said(small_disk: Path) -> None:
    store = Store(small_disk)
    write(store)
    with pytest.raises(UserError) as caught, store.writing("ef56") as folder:
        (folder / "rows").write_bytes(bytes(2 << 20))
    assert caught.value.message.startswith("the disk is full: free ")
    assert "--store" in caught.value.help
    assert str(small_disk) in caught.value.help
    assert store.find(KEY) == RESULT
    assert [path.name for path in (small_disk / "steps").iterdir()] == [KEY]


def test_disk_full_while_it_is_marked_as_done(small_disk: Path) -> None:
    store = Store(small_disk)
    with store.writing(KEY) as folder:
        (folder / "rows").write_bytes(b"rows")
        fill(small_disk)
        with pytest.raises(UserError, match="the disk is full"):
            store.finish(KEY, RESULT, "read", "facts")
    assert store.find(KEY) is None


def test_read_only_disk_is_said(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(UserError, match="can't read or write here: read-only file system"):
        write(Store(small_disk / "runs"))


def test_forbidden_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't read or write here: permission denied"), disk_errors(tmp_path):
        raise PermissionError(13, os.strerror(13), "rows.parquet")


def test_a_file_in_the_place_of_the_store_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="there is a file where a folder is needed"):
        Store(tmp_path / "runs").study("honeypot")


@pytest.mark.parametrize(
    "text",
    [
        "[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device",
        "RESOURCE_EXHAUSTED: Error writing local file: No space left on device [os_error_code='28']",
        "[os_error_code='122']",
    ],
    ids=["Arrow", "TensorStore", "quota"],
)
def test_full_disk_is_known_by_what_libraries_say(tmp_path: Path, text: str) -> None:
    full = pytest.raises(UserError, match=r"the disk is full: needed about 1\.5 GB, free")
    with full, disk_errors(tmp_path, 1_500_000_000):
        raise ValueError(text)


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "none").read_bytes()
