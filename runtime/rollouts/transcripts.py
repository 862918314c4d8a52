"""What was sampled for one update and what it was worth: a Parquet file, written whole before the update."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runtime.disk import write_atomically

FOLDER = "rollouts"
"""In a train step's folder; a file for each update."""

_SCHEMA = pa.schema(
    {
        "prompt": pa.int32(),
        "sample": pa.int32(),
        "identity": pa.string(),
        "occurrence": pa.int32(),
        "place": pa.string(),
        "text": pa.string(),
        "tokens": pa.list_(pa.int32()),
        "log_probabilities": pa.list_(pa.float32()),
        "finish": pa.string(),
        "reward": pa.float64(),
        "terms": pa.map_(pa.string(), pa.float64()),
        "unreadable": pa.string(),
        "advantage": pa.float64(),
        "dropped": pa.bool_(),
    }
)


@dataclass(frozen=True)
class Transcript:
    """One answer.

    Attributes:
        prompt: which of the update's prompts it answers, from 0; sample: which answer to it, from 0.
        identity, occurrence: name the prompt's row anywhere; place: FILE:LINE of it.
        text: of the answer, without the stop token.
        tokens: with it.
        log_probabilities: that the sampler gave the tokens, natural, at the rollout's temperature.
        finish: `stop` or `length`.
        reward: None where a judgement can't be read; `unreadable` then says why, and is empty else.
        terms: the parts of the reward by name.
        advantage: None where the group is dropped.
        dropped: its group is left out of the update, since a judgement of it can't be read.
    """

    prompt: int
    sample: int
    identity: str
    occurrence: int
    place: str
    text: str
    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    finish: str
    reward: float | None
    terms: Mapping[str, float]
    unreadable: str
    advantage: float | None
    dropped: bool


@dataclass(frozen=True)
class Judged:
    """Answers of a stage so far, and those of them whose judgement couldn't be read."""

    answers: int = 0
    unreadable: int = 0


def write_transcripts(folder: Path, update: int, transcripts: Sequence[Transcript], judged: Judged) -> None:
    """Writes an update's answers into a train step's folder, whole or not at all."""
    records = [{**asdict(each), "terms": list(each.terms.items())} for each in transcripts]
    told = {name: str(value) for name, value in asdict(judged).items()}
    table = pa.Table.from_pylist(records, _SCHEMA).replace_schema_metadata(told)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True)
    path = _path(folder, update)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def read_transcripts(folder: Path, update: int) -> tuple[list[Transcript], Judged] | None:
    """What was written for an update; None where nothing was, or it can't be read any more."""
    try:
        table = pq.read_table(_path(folder, update), page_checksum_verification=True)
        told: Mapping[bytes, bytes] = table.schema.metadata or {}
        judged = Judged(int(told[b"answers"]), int(told[b"unreadable"]))
        return [_transcript(record) for record in table.to_pylist()], judged
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return None


def _transcript(record: dict[str, Any]) -> Transcript:
    lists = {name: tuple(record[name]) for name in ("tokens", "log_probabilities")}
    return Transcript(**{**record, **lists, "terms": dict(record["terms"])})


def _path(folder: Path, update: int) -> Path:
    return folder / FOLDER / f"{update}.parquet"
