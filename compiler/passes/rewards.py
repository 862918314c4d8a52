"""Rewards of stages: judges with their models, patterns, plug-ins and sums of these."""

from __future__ import annotations

import json

from compiler.keys import computed
from compiler.passes import transforms  # as a module: a judge may be a model that is trained
from compiler.passes.build import Build
from compiler.stages import JudgeReward, PatternReward, PlugInReward, Reward, SumReward
from dsl.declarations.reward_plug_ins import reward_offers, version_of
from dsl.declarations.training import Reward as Declared


def reward(build: Build, declared: Declared) -> Reward:
    """A declared reward with what it asks. The terms of a sum come in an order of their own: a mapping has none."""
    if declared.judge is not None:
        assert declared.prompt is not None
        assert declared.scale is not None
        return JudgeReward(
            name=declared.name,
            model=transforms.asked(build, declared.judge),
            prompt=build.location(declared.prompt),
            low=str(declared.scale.low),
            high=str(declared.scale.high),
        )
    if declared.verify is not None:
        offer = next(iter(reward_offers().get(declared.verify, ())), None)
        if offer is not None:
            return PlugInReward(name=declared.name, plug_in=offer.word, version=version_of(offer))
        return PatternReward(name=declared.name, pattern=declared.verify)
    terms = [(str(term.weight), reward(build, term.reward)) for term in declared.sum]
    terms.sort(key=lambda term: json.dumps([term[0], computed(term[1])], sort_keys=True))
    return SumReward(name=declared.name, terms=tuple(terms))
