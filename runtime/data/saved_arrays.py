"""A frozen dataclass of arrays as a folder of .npy files, one a field, which are mapped when they are read."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from runtime.data.arrays import damaged

Arrays = TypeVar("Arrays")


def save_arrays(value: Any, folder: Path) -> None:
    """Writes every field of `value` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for field in fields(value):
        np.save(folder / f"{field.name}.npy", getattr(value, field.name), allow_pickle=False)


def load_arrays(kind: type[Arrays], folder: Path) -> Arrays:
    """What `save_arrays` wrote; costs the same whatever its size. UserError where a file is damaged."""
    return kind(**{field.name: _load(folder / f"{field.name}.npy") for field in fields(cast(Any, kind))})


def _load(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)  # a slice of a memmap costs more
    except (OSError, ValueError) as error:
        raise damaged(path.parent, f"{path.name} can't be read: {error}") from None
