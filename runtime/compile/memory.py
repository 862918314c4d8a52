"""What a compiled program takes of a device's memory, and for what."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from compiler.program.config import DecoderConfig
from runtime.compile.jobs import Buffer, Job

_SIZES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "f16": 2, "pred": 1, "s8": 1, "u8": 1, "s64": 8, "u64": 8, "f64": 8}
_LARGEST = 6


class Stats(NamedTuple):
    """Bytes of one device."""

    arguments: int
    temporaries: int
    code: int
    peak: int
    refused: str | None = None


def local_bytes(tree: Any) -> int:
    """Of arrays' shapes with places: what one device holds."""
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree))


def measured(compiled: jax.stages.Compiled) -> Stats:
    """What XLA says of a program."""
    told: Any = compiled.memory_analysis()
    arguments, code = told.argument_size_in_bytes, told.generated_code_size_in_bytes
    fresh = told.output_size_in_bytes - told.alias_size_in_bytes  # what isn't written over an argument
    whole = arguments + max(fresh, 0) + told.temp_size_in_bytes + code
    return Stats(arguments, told.temp_size_in_bytes, code, whole)


def refused(error: Exception, arguments: int) -> Stats | None:
    """The same from XLA's message that a program doesn't fit; None for any other error."""
    text = str(error)
    if "RESOURCE_EXHAUSTED" not in text:
        return None
    units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    found = re.search(r"required for HLO temporaries \(([\d.]+)([KMGT]?)\)", text)
    if found is None:
        found = re.search(r"(?:Used|requested|allocat\w+) ([\d.]+)([KMGT]?)", text)
    temporaries = int(float(found[1]) * units[found[2]]) if found else 0
    return Stats(arguments, temporaries, 0, arguments + temporaries, text.splitlines()[0])


def largest(program: str, job: Job, config: DecoderConfig) -> tuple[Buffer, ...]:
    """The largest arrays of a program (XLA's text of it), those of one shape once, and what makes them smaller."""
    seen: dict[str, Buffer] = {}
    for dtype, shape, name in _arrays(program):
        size = _SIZES.get(dtype, 4) * math.prod(shape)
        what = f"{dtype}[{','.join(map(str, shape))}]"
        source = _source(dtype, shape, name, job, config)
        if what not in seen or (seen[what].source != source and "gradient" in source):
            seen[what] = Buffer(bytes=size, what=what, source=source)
    return tuple(sorted(seen.values(), key=lambda buffer: -buffer.bytes)[:_LARGEST])


_RESULT = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = (\w+)\[([\d,]+)\]\S* ([\w-]+)\(")


def _arrays(program: str) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """dtype, shape and the operation's name of every array that is written to memory."""
    inside = False  # a fusion's own body isn't
    for line in program.splitlines():
        if line and not line[0].isspace():
            inside = "fused_computation" in line.split("(")[0] or line.startswith("%region")
        elif not inside and (found := _RESULT.match(line)) is not None:
            dtype, shape, operation = found.groups()
            if operation in ("parameter", "get-tuple-element", "bitcast", "tuple", "constant"):
                continue
            name = re.search(r'op_name="([^"]*)"', line)
            yield dtype, tuple(map(int, shape.split(","))), name[1] if name else ""


def _source(dtype: str, shape: tuple[int, ...], name: str, job: Job, config: DecoderConfig) -> str:
    """What an array holds, by its shape and the operation that made it, and the field to change."""
    micro_batch = "a smaller `micro_batch` makes it smaller"
    if config.layers in shape and len(shape) > 2:
        if dtype == "f32":
            return "gradients or optimizer state of a matrix of all layers: more `fsdp` or `tensor` makes it smaller"
        more = "" if job.remat == "full" else "`remat: full` or "
        return f"kept of all layers for the backward pass: {more}{micro_batch}"
    vocabulary = {config.vocabulary // parts for parts in (1, 2, 4, 8, 16)}
    if vocabulary & set(shape):
        if config.hidden in shape:
            return "the embedding or output matrix, gathered, or its gradient: more `tensor` makes it smaller"
        return "logits of some tokens: more `tensor` makes them smaller"
    return f"of one layer: {micro_batch}"


def shardings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument's shape, dtype and place by its path."""
    found: dict[str, Any] = {}
    for path, x in jax.tree_util.tree_flatten_with_path(dict(arguments))[0]:
        spec = [list(each) if isinstance(each, tuple) else each for each in x.sharding.spec]
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        found[name] = {"shape": list(x.shape), "dtype": str(x.dtype), "spec": spec}
    return found
