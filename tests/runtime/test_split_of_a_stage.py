"""What of a model a stage trains: all, an adapter, or what no frozen group holds; and what is wrong with groups."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from compiler.program.adapters import lora_of
from compiler.program.decoder import adapter_shapes, parameter_shapes
from compiler.program.groups import leaves
from compiler.stages import AdamW, Adapter, Group, Schedule
from compiler.steps import Train
from compiler.values import END, ModelPoint
from runtime.errors import UserError
from runtime.steps.models import Split, split_of
from tests.tiny import tiny_description

CONFIG = tiny_description().config
LORA = Adapter(rank=2, alpha="4", dropout="0", on=("mlp",))


def split(*groups: Group, adapter: Adapter | None = None) -> Split:
    step = Train(
        name="finetune",
        place="spec.mix:3:1",
        model=ModelPoint(step="tiny", at=END),
        weights="tiny",
        pack="pack",
        adapter=adapter,
        groups=groups,
        optimizer=AdamW(lr="1", b1="0", b2="0", eps="1", weight_decay="0"),
        schedule=Schedule(kind="constant", warmup="0", final="1"),
        max_grad_norm=None,
        precision="float32",
    )
    context = SimpleNamespace(model=lambda weights: tiny_description())
    return split_of(cast(Any, SimpleNamespace(context=context, step=step)))


def group(paths: str, lr: str | None = "0") -> Group:
    return Group(paths=paths, lr=lr, weight_decay=None)


def test_all_is_trained_or_the_adapter_alone() -> None:
    assert split().trained == parameter_shapes(CONFIG)
    trained = split(adapter=LORA).trained
    assert {path[-1] for path, _ in leaves(trained)} == {"down", "up"}
    assert {path[1] for path, _ in leaves(trained)} == {"feed_forward"}


def test_frozen_groups_are_not_trained() -> None:
    assert {path for path, _ in leaves(split(group("layers.*")).trained)} == {("embedding",), ("norm", "scale")}
    assert split(group("layers.*", lr="0.1")).trained == parameter_shapes(CONFIG)
    ups = split(group("*.gate.*"), group("*.down"), adapter=LORA).trained
    assert {path[-1] for path, _ in leaves(ups)} == {"up"}
    assert len(dict(leaves(ups))) == 2
    assert set(dict(leaves(ups))) < set(dict(leaves(adapter_shapes(CONFIG, lora_of(LORA)))))


@pytest.mark.parametrize(
    ("groups", "adapter", "told"),
    [
        ([group("layers.attentoin.*")], None, "no parameter is of the group 'layers.attentoin.*'"),
        ([group("layers.*", lr="0.5"), group("layers.attention.*")], None, "the group 'layers.attention.*'"),
        ([group("embedding")], LORA, "the group 'embedding'"),
        ([group("*")], None, "all parameters are frozen"),
    ],
)
def test_groups_that_do_nothing_are_told_with_their_place(
    groups: list[Group], adapter: Adapter | None, told: str
) -> None:
    with pytest.raises(UserError) as caught:
        split(*groups, adapter=adapter)
    assert told in caught.value.message
    assert caught.value.place == "spec.mix:3:1"
