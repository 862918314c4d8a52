"""The store of steps: a folder for each key, which counts from the moment that it is marked as done."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event

from pydantic import Field, ValidationError

from compiler.steps import Result
from compiler.values import Frozen
from runtime.disk import MARK, Contents, contents, damage, disk_errors, remove, rename, sync_tree, write_atomically
from runtime.errors import UserError
from runtime.stopping import Stopped

_LIBRARIES = (
    "mixc",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorstore",
    "tokenizers",
    "numpy",
    "pyarrow",
)
_POLL_SECONDS = 0.2


class Done(Frozen):
    """What the mark says: the result, and what is of use to people and to `store verify`."""

    result: Result
    kind: str
    name: str
    time: datetime
    versions: dict[str, str]
    files: Contents = Field(default_factory=dict)
    """Folders inside that carry a mark of their own (checkpoints) aren't in it: they may be dropped later."""


class Store:
    """`root/steps/KEY/` holds the results of steps, `root/studies/NAME/` those of studies.

    A step is run like this, and any number of processes may try at once:

        with store.lock(key, name):
            if (result := store.find(key)) is None:
                with store.writing(key) as folder:  # training: folder = store.open(key)
                    result = compute(folder)
                    store.finish(key, result, kind, name)

    Args:
        root: made when first written to.
        say: takes remarks for people (a damaged step, another process at work), one line each.
    """

    def __init__(self, root: Path, say: Callable[[str], None] = print) -> None:
        self.root = root
        self.say = say
        self._said: set[str] = set()

    def folder(self, key: str) -> Path:
        """`steps/KEY`, whether or not it is there."""
        return self.root / "steps" / key

    def study(self, name: str) -> Path:
        """`studies/NAME`, made if need be. Raises UserError if it can't be."""
        return self._made(self.root / "studies" / name)

    def find(self, key: str) -> Result | None:
        """The result of a done step; None where it isn't done.

        A step of which a file is missing or has another size, or whose mark can't be read, counts as not done: it is
        said once, and the step is run again. Changed bytes of small files are found too, those of large ones by
        `verify` alone.
        """
        return self._look(key, checksums=False)

    def verify(self, key: str) -> Result | None:
        """Like `find`, but reads every file and compares checksums. Checkpoints have checks of their own."""
        return self._look(key, checksums=True)

    @contextmanager
    def lock(self, key: str, name: str, stop: Event | None = None) -> Iterator[None]:
        """Keeps a step to one process; another one waits here, says so, and may find the step done afterwards.

        The lock goes with the process, however that ends.

        Raises:
            Stopped: `stop` was set while waiting.
            UserError: the store can't be written to.
        """
        path = self._made(self.root / "locks") / key
        with disk_errors(self.root):
            opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with disk_errors(self.root):
                self._acquire(opened, name, stop or Event())
            yield
        finally:
            os.close(opened)

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """An empty folder for the files of a step: `finish` makes it the step's; without that it is removed."""
        draft = self._draft(key)
        with disk_errors(self.root):
            shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
            self._made(draft)
            try:
                yield draft
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def open(self, key: str) -> Path:
        """`steps/KEY` to work in, for a step that may take several lives of the process; from now on it isn't done."""
        folder = self._made(self.folder(key))
        with disk_errors(folder):
            (folder / MARK).unlink(missing_ok=True)
        return folder

    def finish(self, key: str, result: Result, kind: str, name: str) -> None:
        """Marks a step as done, all its files synced before. Raises UserError if the disk is full."""
        target = self.folder(key)
        folder = self._draft(key) if self._draft(key).exists() else target
        with disk_errors(self.root):
            sync_tree(folder)
            done = Done(
                result=result,
                kind=kind,
                name=name,
                time=datetime.now(UTC),
                versions=_versions(),
                files=contents(folder),
            )
            write_atomically(folder / MARK, done.model_dump_json(indent=1).encode())
            if folder != target:
                remove(target)  # a damaged one
                rename(folder, target)

    def _look(self, key: str, *, checksums: bool) -> Result | None:
        folder = self.folder(key)
        try:
            done = Done.model_validate_json((folder / MARK).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError:
            return self._damaged(key, f"{MARK} can't be read")
        if done.result.key != key:
            return self._damaged(key, f"{MARK} is of another step")
        wrong = damage(folder, done.files, checksums=checksums)
        return done.result if wrong is None else self._damaged(key, f"{wrong} ({done.kind} {done.name})")

    def _damaged(self, key: str, what: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self.say(f"{self.folder(key)} is damaged: {what}; the step is run again")

    def _acquire(self, opened: int, name: str, stop: Event) -> None:
        said = False
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    self.say(f"{name}: another process (pid {_holder(opened)}) is at it; waiting until it has finished")
                    said = True
                if stop.wait(_POLL_SECONDS):
                    raise Stopped from None
            else:
                os.truncate(opened, 0)
                os.pwrite(opened, str(os.getpid()).encode(), 0)
                return

    def _draft(self, key: str) -> Path:
        return self.root / "steps" / f"{key}.tmp"

    def _made(self, folder: Path) -> Path:
        try:
            with disk_errors(self.root):
                folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(
                "there is a file where a folder is needed", "give another store with --store", str(error.filename)
            ) from error
        except OSError as error:
            raise UserError(
                f"no folder can be made here: {error.strerror}", "give another store with --store", str(error.filename)
            ) from error
        return folder


def _holder(opened: int) -> str:
    return os.pread(opened, 20, 0).decode() or "unknown"


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
