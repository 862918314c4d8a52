"""Training goes on after any interruption as if there had been none."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from compiler.program.batch import Batch
from compiler.program.step import Metrics, TrainState
from runtime.errors import UserError
from runtime.stopping import Stopped
from runtime.train import telemetry
from runtime.train.checkpoints import load_state, load_weights
from runtime.train.committed import committed, weights_at
from runtime.train.loop import Training, train
from runtime.train.prepared import Prepared
from runtime.train.telemetry import Row
from tests.runtime.train.tiny import TinyBatches, same, training
from tests.runtime.train.tiny import batch as tiny_batch

UPDATES = 6
KEEP = frozenset({2, 4})


def run(folder: Path, chosen: Training | None = None, keep: Set[int] = KEEP, stop: Event | None = None) -> list[str]:
    """Trains to the end and gives what was said."""
    folder.mkdir(exist_ok=True)
    said: list[str] = []
    train(chosen or training(UPDATES), folder, keep, lambda row, _: None, stop or Event(), said.append)
    return said


def run_until(folder: Path, update: int, keep: Set[int] = KEEP, chosen: Training | None = None) -> None:
    """Trains until a stop is asked for during `update`."""
    stop = Event()
    chosen = chosen or training(UPDATES)

    def batch(wanted: int) -> Batch:
        if wanted == update + 1:
            stop.set()
        return tiny_batch(wanted)

    with pytest.raises(Stopped):
        run(folder, replace(chosen, batches=TinyBatches(batch)), keep, stop)


def outcome(folder: Path) -> tuple[Any, dict[str, np.ndarray[Any, Any]]]:
    """Weights by update and metrics, but for the time that they took."""
    metrics = telemetry.read(folder)
    metrics = {name: values for name, values in metrics.items() if "second" not in name}
    shapes = training(UPDATES).parameters
    return {update: load_weights(folder, update, shapes) for update in weights_at(folder)}, metrics


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder) == []
    return folder


def test_leaves_the_weights_wanted_and_metrics(whole: Path) -> None:
    assert weights_at(whole) == [2, 4, 6]
    assert committed(whole, "state") == {}
    metrics = telemetry.read(whole)
    assert metrics["update"].tolist() == [1, 2, 3, 4, 5, 6]
    assert metrics["tokens"].tolist() == [28] * 6
    assert metrics["loss"][-1] < metrics["loss"][0]
    assert sorted(path.name for path in whole.iterdir()) == ["metrics.parquet", "state", "tensorboard", "weights"]


@pytest.mark.parametrize("update", range(1, UPDATES))
def test_resumed_anywhere_it_ends_the_same_to_the_bit(whole: Path, tmp_path: Path, update: int) -> None:
    run_until(tmp_path, update)
    assert run(tmp_path) == [f"finetune goes on after update {update} of 6"]
    assert same(outcome(tmp_path), outcome(whole))


def test_optimizer_state_is_the_same_to_the_bit(tmp_path: Path) -> None:
    at_once, in_pieces = tmp_path / "at once", tmp_path / "in pieces"
    run_until(at_once, 5)
    for update in range(1, 6):
        run_until(in_pieces, update, keep=frozenset())
    chosen = training(UPDATES)
    states = [load_state(folder, 5, chosen.parameters, chosen.optimizer) for folder in (at_once, in_pieces)]
    assert same(*states)
    assert int(states[0].step) == 5


def test_saving_while_the_step_takes_over_buffers_changes_nothing(whole: Path, tmp_path: Path) -> None:
    train(training(UPDATES), tmp_path, KEEP, lambda row, _: None, Event(), print, save_seconds=0.0)
    assert weights_at(tmp_path) == [2, 4, 6]
    assert same(outcome(tmp_path), outcome(whole))


def test_of_states_the_newest_two_stay_and_unwanted_weights_go(tmp_path: Path) -> None:
    run_until(tmp_path, 5, keep=frozenset({1, 2, 3}))
    assert sorted(committed(tmp_path, "state")) == [3, 5]
    assert weights_at(tmp_path) == [1, 2, 3, 5]
    run(tmp_path, keep=frozenset({1, 2, 3}))
    assert weights_at(tmp_path) == [1, 2, 3, 6]


def test_a_done_run_does_nothing_until_other_weights_are_wanted(whole: Path, tmp_path: Path) -> None:
    def never(update: int) -> Batch:
        raise AssertionError(f"asked for batch {update}")

    run(tmp_path, keep=frozenset({2}))
    run(tmp_path, replace(training(UPDATES), batches=TinyBatches(never)), keep=frozenset({2}))
    run(tmp_path, keep=frozenset({4}))
    assert weights_at(tmp_path) == [2, 4, 6]
    assert same(outcome(tmp_path), outcome(whole))


def test_progress_comes_for_each_update_of_this_process(tmp_path: Path) -> None:
    run_until(tmp_path, 3)
    rows: list[tuple[Row, int]] = []
    train(training(UPDATES), tmp_path, KEEP, lambda row, updates: rows.append((row, updates)), Event(), lambda _: None)
    assert [(row.update, updates) for row, updates in rows] == [(4, 6), (5, 6), (6, 6)]


def test_next_batch_is_made_before_the_device_is_waited_for(tmp_path: Path) -> None:
    events: list[str] = []
    chosen = training(UPDATES)

    def batch(update: int) -> Batch:
        events.append(f"batch {update}")
        return tiny_batch(update)

    train(
        replace(chosen, batches=TinyBatches(batch)),
        tmp_path,
        frozenset(),
        lambda row, _: events.append(f"row {row.update}"),
        Event(),
        print,
    )
    assert events[:6] == ["batch 1", "batch 2", "batch 3", "row 1", "batch 4", "row 2"]


def diverging(update: int) -> Training:
    """Parameters turn into NaN in one update."""
    chosen = training(UPDATES)

    def step(state: TrainState, frozen: Any, batch: Batch, denominator: Any) -> tuple[TrainState, Metrics]:
        if int(state.step) == update - 1:
            state = state._replace(parameters={**state.parameters, "embedding": state.parameters["embedding"] * np.nan})
        return chosen.step(state, frozen, batch, denominator)

    return replace(chosen, step=step)


def test_loss_that_is_not_a_number_stops_before_it_is_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(tmp_path, diverging(4), keep=frozenset({2, 4}))
    assert str(caught.value) == (
        "spec.mix:3:1: the loss is nan in update 4 of 6 of finetune; its batch is facts.jsonl:4, facts.jsonl:5\n"
        f"help: lower lr (it was 0.00655 here) or set max_grad_norm, and look at the rows; "
        f"update 2 in {tmp_path} is the last good checkpoint"
    )
    assert weights_at(tmp_path) == [2]
    assert telemetry.read(tmp_path)["update"].tolist() == [1, 2, 3]


def test_batch_without_trained_tokens_has_no_loss(tmp_path: Path) -> None:
    untrained = TinyBatches(lambda update: tiny_batch(update)._replace(trained=np.zeros((2, 16), bool)))
    run(tmp_path, replace(training(UPDATES), batches=untrained))
    assert telemetry.read(tmp_path)["loss"].tolist() == [0.0] * 6
    assert telemetry.read(tmp_path)["trained_tokens"].tolist() == [0] * 6


def test_other_data_is_refused(tmp_path: Path) -> None:
    run_until(tmp_path, 3)
    with pytest.raises(UserError) as caught:
        run(tmp_path, replace(training(UPDATES), data={"tokens": "03ac"}))
    assert caught.value.message == ("the data of finetune changed since update 3 was saved: tokens was 9f86, is 03ac")
    assert str(tmp_path) in caught.value.help


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("part", ["weights", "state"])
@pytest.mark.parametrize("how", ["flipped", "truncated", "missing", "mark"])
def test_damaged_checkpoint_is_passed_over_aloud(whole: Path, tmp_path: Path, part: str, how: str) -> None:
    run_until(tmp_path, 4)
    folder = tmp_path / part / "4"
    match how:
        case "flipped":
            flip(largest(folder))
        case "truncated":
            largest(folder).write_bytes(largest(folder).read_bytes()[:-5])
        case "missing":
            largest(folder).unlink()
        case _:
            flip(folder / "done.json", 0)
    said = run(tmp_path)
    assert said[-1] == "finetune goes on after update 2 of 6"
    assert how == "mark" or str(folder) in said[0]
    assert same(outcome(tmp_path), outcome(whole))


def test_lost_weights_that_are_wanted_are_made_again(whole: Path, tmp_path: Path) -> None:
    run_until(tmp_path, 5)
    largest(tmp_path / "weights" / "2").unlink()
    said = run(tmp_path)
    assert len(said) == 1  # and it begins at the beginning: no state is that old
    assert "weights/2 is damaged" in said[0]
    assert same(outcome(tmp_path), outcome(whole))


def test_damaged_weights_are_not_loaded(tmp_path: Path) -> None:
    run(tmp_path)
    flip(largest(tmp_path / "weights" / "2"))
    with pytest.raises(UserError, match="weights are damaged: the bytes of"):
        load_weights(tmp_path, 2, training(UPDATES).parameters)


def test_damaged_metrics_lose_their_rows_alone(tmp_path: Path) -> None:
    run_until(tmp_path, 4)
    lines = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_bytes(lines[0] + lines[1][:20] + b"\xff\n" + b"".join(lines[2:]))
    run(tmp_path)
    assert telemetry.read(tmp_path)["update"].tolist() == [1, 3, 4, 5, 6]


def test_rows_past_the_checkpoint_are_not_doubled(tmp_path: Path) -> None:
    run_until(tmp_path, 3)
    row = json.loads((tmp_path / "metrics.jsonl").read_bytes().splitlines()[-1])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({**row, "update": 4}) + "\n" + json.dumps({**row, "update": 5})[:30])
    run(tmp_path)
    assert telemetry.read(tmp_path)["update"].tolist() == [1, 2, 3, 4, 5, 6]


def test_tensorboard_has_each_update_once(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event as Logged

    run_until(tmp_path, 3)
    run(tmp_path)
    data = next((tmp_path / "tensorboard").iterdir()).read_bytes()
    events: list[Any] = []
    while data:  # a record is its length, a checksum of that, the bytes, a checksum of those
        size = int.from_bytes(data[:8], "little")
        events.append(Logged.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert events[0].file_version == "brain.Event:2"
    assert [event.step for event in events[1:]] == [1, 2, 3, 4, 5, 6]
    values = [{value.tag: value.simple_value for value in event.summary.value} for event in events[1:]]
    losses = [each["loss"] for each in values]
    assert {"gradient_norm", "tokens_per_second", "padding", "data_wait_seconds"} <= values[0].keys()
    assert losses == telemetry.read(tmp_path)["loss"].tolist()


def spiking(update: int, updates: int) -> Training:
    """The loss of one update is far above the others."""
    chosen = training(updates)

    def step(state: TrainState, frozen: Any, batch: Batch, denominator: Any) -> tuple[TrainState, Metrics]:
        before = int(state.step)
        state, metrics = chosen.step(state, frozen, batch, denominator)
        return state, metrics._replace(loss=metrics.loss + 50.0) if before == update - 1 else metrics

    return replace(chosen, step=step)


def test_a_spike_is_said_with_its_rows_and_by_policy_stops(tmp_path: Path) -> None:
    said: list[str] = []
    warned, stopped = tmp_path / "warned", tmp_path / "stopped"
    warned.mkdir()
    train(spiking(26, 30), warned, {25}, lambda row, _: None, Event(), said.append)
    (told,) = said
    assert told.startswith("the loss jumped to 54.")
    assert told.endswith("in update 26 of 30 of finetune; its batch is facts.jsonl:26, facts.jsonl:27")
    assert weights_at(warned) == [25, 30]
    stopped.mkdir()
    with pytest.raises(UserError) as caught:
        train(spiking(26, 30), stopped, {25}, lambda row, _: None, Event(), print, on_spike="stop")
    assert caught.value.message == told
    assert f"update 25 in {stopped} is the last good checkpoint" in caught.value.help
    assert weights_at(stopped) == [25]


class OfState(TinyBatches):
    """Batches that are made from the state before the update."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__(ahead=False)
        self.asked: list[tuple[int, int]] = []
        self.stop_at = stop_at

    def prepare(self, update: int, state: TrainState) -> Prepared:
        self.asked.append((update, int(state.step)))
        if update == self.stop_at:
            raise Stopped
        shift = int(np.argmax(np.asarray(state.parameters["embedding"])[:, 0]))
        made = super().prepare(update, state)
        return replace(made, batch=made.batch._replace(tokens=(made.batch.tokens + shift) % 64), told={"shift": shift})


def test_batches_of_the_state_come_after_its_checkpoint_and_may_stop(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    batches = OfState()
    run(whole, replace(training(UPDATES), batches=batches))
    assert batches.asked == [(update, update - 1) for update in range(1, UPDATES + 1)]
    assert telemetry.read(whole)["shift"].any()
    with pytest.raises(Stopped):
        run(broken, replace(training(UPDATES), batches=OfState(stop_at=4)))
    assert sorted(committed(broken, "state")) == [2, 3]
    assert run(broken, replace(training(UPDATES), batches=OfState())) == ["finetune goes on after update 3 of 6"]
    assert same(outcome(broken), outcome(whole))


def test_a_run_that_ended_at_an_earlier_point_goes_on_from_there(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, replace(training(UPDATES), updates=3, whole=False), keep=frozenset({2}))
    assert weights_at(tmp_path) == [2, 3]
    assert run(tmp_path) == ["finetune goes on after update 3 of 6"]
    metrics = telemetry.read(tmp_path)
    assert metrics["loss"].tolist() == telemetry.read(whole)["loss"].tolist()
    assert same(*(load_weights(folder, 6, training(UPDATES).parameters) for folder in (tmp_path, whole)))


def test_between_updates_it_may_end_and_goes_on_later_with_no_bit_changed(whole: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, list[int]]] = []

    def between(update: int, state: TrainState) -> bool:
        seen.append((update, int(state.step), weights_at(tmp_path)))
        return update == 4

    arguments = (training(UPDATES), tmp_path, KEEP, lambda row, _: None, Event(), print)
    assert train(*arguments, between=between) == 4
    assert seen == [(2, 2, [2]), (4, 4, [2, 4])]  # what is evaluated is committed already
    assert sorted(committed(tmp_path, "state")) == [4]
    assert telemetry.read(tmp_path)["update"].tolist() == [1, 2, 3, 4]
    assert train(*arguments, between=between) == UPDATES
    assert len(seen) == 2
    assert same(outcome(tmp_path), outcome(whole))
