"""Rows of telemetry: what becomes a column, what older files have, and what counts as a spike."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.train import telemetry
from runtime.train.peak import chip_of
from runtime.train.spikes import FEWEST, Spikes
from runtime.train.telemetry import Row, Telemetry

OLD = {
    "update": 1, "tokens": 28, "trained_tokens": 20, "loss": 4.0, "gradient_norm": 1.0, "learning_rate": 0.1,
    "seconds": 2.0,
}  # fmt: skip


def row(update: int, loss: float = 4.0, norm: float = 1.0, told: dict[str, float] | None = None) -> Row:
    return Row(update, 28, 20, loss, norm, 0.1, 2.0, padding=0.125, told=told or {})


def test_what_the_objective_tells_is_a_column_through_live_file_and_parquet(tmp_path: Path) -> None:
    with Telemetry(tmp_path, 0) as rows:
        rows.add(row(1, told={"loss/facts": 3.0}))
        rows.add(row(2, told={"loss/facts": 2.5, "loss/rare": 7.0}))
    live = telemetry.read(tmp_path)
    telemetry.finish(tmp_path)
    (tmp_path / telemetry.LIVE).unlink()
    done = telemetry.read(tmp_path)
    for found in (live, done):
        assert found["loss/facts"].tolist() == [3.0, 2.5]
        np.testing.assert_array_equal(found["loss/rare"], [math.nan, 7.0])
        assert found["tokens_per_second"].tolist() == [14.0, 14.0]
        assert found["trained_tokens_per_second"].tolist() == [10.0, 10.0]
        assert found["padding"].tolist() == [0.125, 0.125]
        assert np.isnan(found["mfu"]).all()
        assert found["update"].dtype == np.int64


def test_rows_of_older_versions_are_read_on(tmp_path: Path) -> None:
    (tmp_path / telemetry.LIVE).write_text(json.dumps(OLD) + "\n")
    with Telemetry(tmp_path, 1) as rows:
        rows.add(row(2))
    found = telemetry.read(tmp_path)
    assert found["loss"].tolist() == [4.0, 4.0]
    np.testing.assert_array_equal(found["padding"], [math.nan, 0.125])


def test_parquet_of_older_versions_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({name: [value] for name, value in OLD.items()}), tmp_path / telemetry.DONE)
    found = telemetry.read(tmp_path)
    assert found["loss"].tolist() == [4.0]
    assert found["tokens_per_second"].tolist() == [14.0]
    assert np.isnan(found["data_wait_seconds"]).all()


def test_an_ended_run_that_goes_on_keeps_its_rows(tmp_path: Path) -> None:
    with Telemetry(tmp_path, 0) as rows:
        rows.add(row(1))
        rows.add(row(2))
    telemetry.finish(tmp_path)
    (tmp_path / telemetry.LIVE).unlink()
    with Telemetry(tmp_path, 2) as rows:
        rows.add(row(3))
    assert telemetry.read(tmp_path)["update"].tolist() == [1, 2, 3]


def test_a_spike_is_told_once_and_ordinary_noise_never() -> None:
    chance = random.Random(0)
    spikes = Spikes()
    for update in range(1, 1001):
        assert spikes.add(row(update, chance.gauss(3.0 - update / 1000, 0.2), chance.lognormvariate(0, 0.3))) is None
    told = spikes.add(row(1001, loss=9.0))
    assert told is not None
    assert told.startswith("the loss jumped to 9 (the median of 64 updates before is 1.99")
    assert spikes.add(row(1002, loss=9.0)) is None
    assert spikes.add(row(1003, loss=2.0)) is None
    told = spikes.add(row(1004, loss=2.0, norm=50.0))
    assert told is not None
    assert told.startswith("the gradient's norm jumped to 50")


def test_the_first_updates_are_no_spikes() -> None:
    spikes = Spikes()
    assert all(spikes.add(row(update, loss=float(update % 2))) is None for update in range(1, FEWEST + 1))


def test_a_resumed_run_judges_as_one_that_never_stopped() -> None:
    rows = [row(update, loss=3.0 + 0.01 * (update % 5)) for update in range(1, 50)]
    assert Spikes(rows).add(row(50, loss=6.0)) is not None
    assert Spikes().add(row(50, loss=6.0)) is None


@pytest.mark.parametrize(
    ("kind", "chip"),
    [
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("cpu", None),
    ],
)
def test_utilisation_is_claimed_of_devices_in_the_table_alone(kind: str, chip: str | None) -> None:
    assert chip_of(kind) == chip
