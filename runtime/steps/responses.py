"""What a `respond` step wrote: a table of items."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from runtime.steps.context import Context

_FILE = "responses.parquet"


def write_responses(folder: Path, table: pa.Table) -> None:
    pq.write_table(table, folder / _FILE)


def responses_of(context: Context, respond: str) -> pa.Table:
    """Those of a done step."""
    return pq.read_table(context.folder(respond) / _FILE)
