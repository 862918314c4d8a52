"""Which checkpoints of a train step count: their marks, what to remove, and where training can go on."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import ValidationError

from compiler.values import Frozen
from runtime.disk import MARK, Contents, contents, damage, remove, sync, sync_folders, write_atomically
from runtime.distributed import ALONE, Processes
from runtime.errors import UserError

STATES = 2
"""How many of the newest updates keep their optimizer state."""

Part: TypeAlias = Literal["weights", "state"]
"""`folder/PART/UPDATE/` is a checkpoint's folder."""

PARTS: tuple[Part, ...] = ("weights", "state")


class Committed(Frozen):
    """What the mark says."""

    update: int
    data: dict[str, str]
    """Digests of what training reads, by name."""
    kept: bool
    """Asked for, not only there for going on."""
    files: Contents


def committed(folder: Path, part: Part) -> dict[int, Committed]:
    """Checkpoints that have a mark, by update."""
    found: dict[int, Committed] = {}
    for path in (folder / part).glob(f"*/{MARK}"):
        try:
            read = Committed.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            continue
        if str(read.update) == path.parent.name:
            found[read.update] = read
    return found


def mark(folder: Path, part: Part, update: int, data: dict[str, str], processes: Processes, *, kept: bool) -> None:
    """Makes a checkpoint count, all its files synced before. Each process answers for the files that it wrote."""
    path = folder / part / str(update)
    own = contents(path, lambda name: _writer(name, processes.count) == processes.index, synced=True)
    files = {name: file for each in processes.gathered(own) for name, file in each.items()}
    if processes.first:
        sync_folders(path)
        whole = Committed(update=update, data=data, kept=kept, files=dict(sorted(files.items())))
        write_atomically(path / MARK, whole.model_dump_json(indent=1).encode())
        sync(path.parent)


def _writer(name: str, count: int) -> int:
    """The process that wrote a file of a checkpoint, in which Orbax gives each a folder of its own."""
    found = re.match(r"ocdbt\.process_(\d+)/", name)
    return int(found[1]) % count if found else 0


def weights_at(folder: Path) -> list[int]:
    """Updates whose weights are committed, with all files there in their sizes; ascending."""
    return sorted(
        update
        for update, found in committed(folder, "weights").items()
        if damage(folder / "weights" / str(update), found.files, checksums=False) is None
    )


def drop_weights(folder: Path, keep: AbstractSet[int]) -> None:
    """Removes the weights of all updates but those of `keep`."""
    for update in committed(folder, "weights").keys() - keep:
        remove(folder / "weights" / str(update))


def prune(folder: Path, wanted: AbstractSet[int], update: int, states: int) -> None:
    """Of the checkpoints up to `update`, leaves the newest `states` whole, and else the weights that are wanted.

    Later ones are of a run that is being made again because weights before them are missing: they are left alone, and
    so are weights that an earlier run wanted.
    """
    older = sorted(each for each in committed(folder, "state") if each <= update)
    newest = older[-states:] if states else []
    for each in set(older).difference(newest):
        remove(folder / "state" / str(each))
    for each, found in committed(folder, "weights").items():
        if each <= update and not found.kept and each not in wanted and each not in newest:
            remove(folder / "weights" / str(each))


def newest_point(folder: Path) -> int:
    """The newest update with weights and state, 0 if there is none."""
    return max(_points(folder, frozenset()), default=0)


def resume_point(
    folder: Path, wanted: AbstractSet[int], say: Callable[[str], None], processes: Processes = ALONE
) -> int:
    """The newest update that training can go on from, 0 if it has to begin.

    That is one with weights and state, both intact, and before which no weights of `wanted` are missing. What a killed
    process left half-written is removed, and so is, said aloud, what is damaged. Of several processes the first one
    removes, and each reads a share of the files.
    """
    processes.told(lambda: _tidy(folder, say))
    while newest := processes.told(lambda: max(_points(folder, wanted), default=0)):
        for part in PARTS:
            found = processes.gathered(damage_in(folder, part, newest, processes))
            wrong = next((each for each in found if each is not None), None)
            if wrong is not None:
                processes.told(functools.partial(_remove_damaged, folder, part, newest, wrong, say))
                break
        else:
            return newest
    return 0


def _tidy(folder: Path, say: Callable[[str], None]) -> None:
    """Removes what isn't whole by the sizes of its files."""
    remove_uncommitted(folder)
    for part in PARTS:
        for update, found in committed(folder, part).items():
            wrong = damage(folder / part / str(update), found.files, checksums=False)
            if wrong is not None:
                _remove_damaged(folder, part, update, wrong, say)


def refuse_other_data(folder: Path, data: Mapping[str, str], name: str) -> None:
    """Raises UserError where checkpoints were made on other data, saying what changed."""
    for part in ("state", "weights"):
        for update, found in sorted(committed(folder, part).items(), reverse=True):
            changed = [
                f"{what} was {found.data.get(what, 'not there')}, is {data.get(what, 'not there')}"
                for what in sorted(found.data.keys() | data.keys())
                if found.data.get(what) != data.get(what)
            ]
            if changed:
                raise UserError(
                    f"the data of {name} changed since update {update} was saved: {'; '.join(changed)}",
                    f"bring the data back as it was, or begin again: rm -r {folder}",
                    str(folder / part / str(update)),
                )


def damage_in(folder: Path, part: Part, update: int, processes: Processes = ALONE) -> str | None:
    """What is wrong with the bytes of a checkpoint, in words; None if nothing. Looks at this process's share of files:
    each n-th of the largest.
    """
    found = committed(folder, part).get(update)
    if found is None:
        return f"no {MARK} that can be read"
    by_size = sorted(found.files, key=lambda name: (-found.files[name][0], name))
    own = by_size[processes.index :: processes.count]
    return damage(folder / part / str(update), {name: found.files[name] for name in own}, checksums=True)


def remove_uncommitted(folder: Path) -> None:
    """Removes what a killed process, or a full disk, left half-written."""
    for part in PARTS:
        whole = {str(update) for update in committed(folder, part)}
        for path in (folder / part).glob("*"):
            if path.is_dir() and path.name not in whole:
                remove(path)


def _points(folder: Path, wanted: AbstractSet[int]) -> list[int]:
    weights = committed(folder, "weights").keys()
    missing = min(wanted - weights, default=sys.maxsize)
    return [update for update in weights & committed(folder, "state").keys() if update <= missing]


def _remove_damaged(folder: Path, part: Part, update: int, wrong: str, say: Callable[[str], None]) -> None:
    path = folder / part / str(update)
    say(f"{path} is damaged and is made again: {wrong}")
    remove(path)
