"""The table of all rules that a declaration is held to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from dsl.checks import claims, data, differ, evals, formats, models, studies, training
from dsl.checks.finding import Finding
from dsl.declarations.base import Declaration
from dsl.declarations.data import Augment, Mix, Source
from dsl.declarations.evals import Eval
from dsl.declarations.models import Model
from dsl.declarations.studies import Study
from dsl.declarations.training import Reward, Target, Train


@dataclass(frozen=True, slots=True)
class Rule:
    """`find` gives what is wrong with a declaration of `kind`; its docstring says what is right."""

    code: str
    kind: type[Declaration]
    find: Callable[[Any], Iterable[Finding]]
    severity: Literal["error", "warning"] = "error"


RULES = (
    Rule("MIX0301", Source, data.one_origin),
    Rule("MIX0302", Source, data.format_said),
    Rule("MIX0303", Source, formats.chain_fits),
    Rule("MIX0303", Augment, formats.augment_fits),
    Rule("MIX0304", Mix, data.parts_or_phases),
    Rule("MIX0305", Mix, data.shares_reach_the_whole),
    Rule("MIX0306", Mix, data.one_rest),
    Rule("MIX0307", Train, training.loss_fits_data),
    Rule("MIX0308", Train, training.objective_fits_data),
    Rule("MIX0309", Train, training.rollouts_are_scored),
    Rule("MIX0310", Train, training.batch_fits_objective),
    Rule("MIX0311", Train, training.warmup_ends),
    Rule("MIX0312", Train, training.points_come),
    Rule("MIX0312", Study, studies.points_come),
    Rule("MIX0313", Train, training.enough_updates),
    Rule("MIX0313", Train, training.enough_updates_until, "warning"),
    Rule("MIX0314", Train, training.suffix_is_meant, "warning"),
    Rule("MIX0334", Train, training.length_is_said),
    Rule("MIX0315", Model, models.flow_is_sound),
    Rule("MIX0315", Study, studies.arms_can_train),
    Rule("MIX0316", Reward, training.one_measure),
    Rule("MIX0317", Model, models.one_origin),
    Rule("MIX0318", Model, models.is_served),
    Rule("MIX0318", Eval, evals.fields_have_effect),
    Rule("MIX0318", Eval, evals.judge_is_there),
    Rule("MIX0319", Target, models.axes_multiply_to_devices),
    Rule("MIX0320", Target, models.axes_are_known),
    Rule("MIX0321", Target, models.topology_is_readable),
    Rule("MIX0321", Target, models.devices_agree),
    Rule("MIX0322", Eval, evals.one_way),
    Rule("MIX0323", Eval, evals.answers_are_judged),
    Rule("MIX0324", Eval, evals.metric_is_measured),
    Rule("MIX0325", Study, studies.compares_something),
    Rule("MIX0326", Study, studies.arm_names_are_free),
    Rule("MIX0327", Study, studies.factors_differ),
    Rule("MIX0327", Study, studies.seeds_differ),
    Rule("MIX0327", Eval, evals.members_differ),
    Rule("MIX0328", Study, studies.stages_are_there),
    Rule("MIX0328", Study, studies.dose_is_of_something),
    Rule("MIX0329", Study, claims.claims_are_decidable),
    Rule("MIX0329", Study, claims.stop_is_decidable),
    Rule("MIX0330", Study, differ.arms_differ_only_there),
    Rule("MIX0331", Study, studies.has_log_probabilities),
    Rule("MIX0332", Study, studies.is_held_out),
    Rule("MIX0333", Study, studies.one_tokenizer),
)
# MIX0340 to MIX0343 are about whole files: see dsl/check.py.
