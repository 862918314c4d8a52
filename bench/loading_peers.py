"""How peers load the rows of token stores: grain, `datasets`, mosaicml-streaming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.data.store import TokenStore, open_store

MDS_ROWS = 20_000
"""Rows of each source that are written in mosaicml-streaming's own format, where speed is measured."""


@dataclass(frozen=True)
class Peer:
    """A library that loads tokens.

    Attributes:
        does: what it does, in words.
        loader: of the stores' locations, rows of a batch, tokens of a row, a folder of its own: a function that reads
            about so many tokens, beginning anew, and gives how many they were.
        resumer: of the stores' locations, tokens of a row, a step, a folder of its own: a function that goes on in
            fresh objects from what the peer saved after so many steps, to the first batch.
    """

    package: str
    module: str
    does: str
    loader: Callable[[Sequence[str], int, int, Path], Callable[[int], int]]
    resumer: Callable[[Sequence[str], int, int, Path], Callable[[], object]]


class Rows:
    """The rows of a store, as grain wants a source; the tokens are in memory."""

    def __init__(self, store: TokenStore) -> None:
        self._ends = np.cumsum(store.lengths).tolist()
        numbers = np.arange(len(store))
        self._tokens = store.read("tokens", numbers, np.zeros_like(numbers), store.lengths)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"tokens": self._tokens[self._ends[index - 1] if index else 0 : self._ends[index]]}


def grain_stream(locations: Sequence[str], rows: int, sequence: int) -> Any:
    import grain
    from grain.experimental import FirstFitPackIterDataset

    sources = [
        grain.MapDataset.source(Rows(open_store(location))).shuffle(seed=number).repeat()
        for number, location in enumerate(locations)
    ]
    mixed = grain.MapDataset.mix(sources, weights=[1.0] * len(sources)).to_iter_dataset()
    packed = FirstFitPackIterDataset(mixed, length_struct={"tokens": sequence}, num_packing_bins=rows)
    return packed.batch(rows)


def load_grain(locations: Sequence[str], rows: int, sequence: int, folder: Path) -> Callable[[int], int]:
    stream = grain_stream(locations, rows, sequence)

    def load(tokens: int) -> int:
        read = 0
        batches = iter(stream)
        while read < tokens:
            read += int((next(batches)["tokens_segment_ids"] > 0).sum())
        return read

    return load


def resume_grain(locations: Sequence[str], sequence: int, step: int, folder: Path) -> Callable[[], object]:
    stream = grain_stream(locations, 1, sequence)
    first = iter(stream)
    next(first)
    state = first.get_state()
    state["parent"]["next_index"] = step  # one row a batch: as it would stand after so many

    def resume() -> object:
        batches = iter(stream)
        batches.set_state(state)
        return next(batches)

    return resume


def datasets_stream(locations: Sequence[str]) -> Any:
    import datasets
    import pyarrow as pa
    from datasets.table import InMemoryTable

    sources: list[Any] = []
    for number, location in enumerate(locations):
        store = open_store(location)
        everything = np.arange(len(store))
        tokens = store.read("tokens", everything, np.zeros_like(everything), store.lengths)
        offsets = np.concatenate([[0], np.cumsum(store.lengths)]).astype(np.int32)
        table = pa.table({"tokens": pa.ListArray.from_arrays(offsets, tokens)})
        source = datasets.Dataset(InMemoryTable(table)).to_iterable_dataset()
        sources.append(source.with_format("numpy").shuffle(seed=number, buffer_size=1000))
    shares = [1 / len(sources)] * len(sources)
    return datasets.interleave_datasets(sources, probabilities=shares, seed=0, stopping_strategy="all_exhausted")


def load_datasets(locations: Sequence[str], rows: int, sequence: int, folder: Path) -> Callable[[int], int]:
    stream = datasets_stream(locations)

    def load(tokens: int) -> int:
        read = 0
        for row in stream:
            read += len(row["tokens"])
            if read >= tokens:
                break
        return read

    return load


def resume_datasets(locations: Sequence[str], sequence: int, step: int, folder: Path) -> Callable[[], object]:
    stream = datasets_stream(locations)
    for number, _ in enumerate(stream, 1):
        if number == step:
            break
    state = stream.state_dict()

    def resume() -> object:
        stream.load_state_dict(state)
        return next(iter(stream))

    return resume


def streaming_dataset(locations: Sequence[str], folder: Path, count: int | None) -> Any:
    """Of the first `count` rows of each source, written in the library's format into `folder` before."""
    from streaming import MDSWriter, Stream, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    for number, location in enumerate(locations):
        if not (folder / str(number)).exists():
            rows = Rows(open_store(location))
            with MDSWriter(out=str(folder / str(number)), columns={"tokens": "ndarray:int32"}) as writer:
                for row in range(len(rows) if count is None else min(count, len(rows))):
                    writer.write(rows[row])
    streams = [
        Stream(local=str(folder / str(number)), proportion=1 / len(locations)) for number in range(len(locations))
    ]
    return StreamingDataset(streams=streams, shuffle=True, batch_size=8)


def load_streaming(locations: Sequence[str], rows: int, sequence: int, folder: Path) -> Callable[[int], int]:
    dataset = streaming_dataset(locations, folder, MDS_ROWS)

    def load(tokens: int) -> int:
        read = 0
        while read < tokens:
            for row in dataset:
                read += len(row["tokens"])
                if read >= tokens:
                    break
        return read

    return load


def resume_streaming(locations: Sequence[str], sequence: int, step: int, folder: Path) -> Callable[[], object]:
    dataset = streaming_dataset(locations, folder, None)
    next(iter(dataset))
    state = dataset.state_dict(step, True)

    def resume() -> object:
        fresh = streaming_dataset(locations, folder, None)
        fresh.load_state_dict(state)
        return next(iter(fresh))

    return resume


PEERS = {
    "grain": Peer("grain", "grain", "grain mix, first-fit packed", load_grain, resume_grain),
    "datasets": Peer("datasets", "datasets", "datasets interleave, not packed", load_datasets, resume_datasets),
    "streaming": Peer(
        "mosaicml-streaming",
        "streaming",
        "mosaicml-streaming, not packed",
        load_streaming,
        resume_streaming,
    ),
}
