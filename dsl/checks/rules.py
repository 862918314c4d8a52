"""The table of all rules that a declaration is held to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from dsl.checks import (
    claims,
    data,
    differ,
    evals,
    formats,
    held_out,
    lengths,
    measures,
    models,
    patterns,
    predicates,
    repeats,
    schedule,
    studies,
    training,
    transforms,
)
from dsl.checks.finding import Finding
from dsl.declarations.base import Declaration
from dsl.declarations.data import Augment, Mix, Source
from dsl.declarations.evals import Eval
from dsl.declarations.models import Model
from dsl.declarations.studies import Study
from dsl.declarations.targets import Target
from dsl.declarations.training import Reward, Train


@dataclass(frozen=True, slots=True)
class Rule:
    """`find` gives what is wrong with a declaration of `kind`; its docstring says what is right."""

    code: str
    kind: type[Declaration]
    find: Callable[[Any], Iterable[Finding]]
    severity: Literal["error", "warning"] = "error"


RULES = (
    Rule("MIX0207", Train, lengths.rows_hold_something),
    Rule("MIX0301", Source, data.one_origin),
    Rule("MIX0302", Source, data.format_said),
    Rule("MIX0303", Source, formats.chain_fits),
    Rule("MIX0303", Augment, formats.augment_fits),
    Rule("MIX0303", Source, transforms.amounts_are_there),
    Rule("MIX0303", Augment, transforms.amounts_are_there),
    Rule("MIX0304", Mix, data.parts_or_phases),
    Rule("MIX0305", Mix, data.shares_reach_the_whole),
    Rule("MIX0306", Mix, data.one_rest),
    Rule("MIX0307", Train, training.loss_fits_data),
    Rule("MIX0307", Eval, formats.loss_is_of_text),
    Rule("MIX0308", Train, training.objective_fits_data),
    Rule("MIX0309", Train, training.rollouts_are_scored),
    Rule("MIX0310", Train, training.batch_fits_objective),
    Rule("MIX0310", Train, lengths.lengths_fit_objective),
    Rule("MIX0310", Study, schedule.points_fit_objective),
    Rule("MIX0311", Train, training.warmup_ends),
    Rule("MIX0312", Train, training.points_come),
    Rule("MIX0312", Study, schedule.points_come),
    Rule("MIX0313", Train, training.enough_updates),
    Rule("MIX0313", Train, training.enough_updates_until, "warning"),
    Rule("MIX0314", Train, training.suffix_is_meant, "warning"),
    Rule("MIX0334", Train, training.length_is_said),
    Rule("MIX0315", Model, models.flow_is_sound),
    Rule("MIX0315", Study, studies.arms_can_train),
    Rule("MIX0316", Reward, training.one_measure),
    Rule("MIX0317", Model, models.one_origin),
    Rule("MIX0318", Source, transforms.settings_have_effect),
    Rule("MIX0318", Augment, transforms.settings_have_effect),
    Rule("MIX0318", Train, training.settings_have_effect),
    Rule("MIX0363", Model, models.api_names_a_provider),
    Rule("MIX0364", Model, models.weights_are_near, "warning"),
    Rule("MIX0318", Model, models.is_served),
    Rule("MIX0318", Model, models.weights_are_there),
    Rule("MIX0318", Model, models.windows_are_there),
    Rule("MIX0365", Model, models.shape_adds_up),
    Rule("MIX0365", Model, models.scratch_has_a_tokenizer),
    Rule("MIX0318", Eval, evals.fields_have_effect),
    Rule("MIX0318", Eval, evals.judge_is_there),
    Rule("MIX0319", Target, models.axes_multiply_to_devices),
    Rule("MIX0320", Target, models.axes_are_known),
    Rule("MIX0321", Target, models.topology_is_readable),
    Rule("MIX0321", Target, models.devices_agree),
    Rule("MIX0321", Target, models.platform_has_topology),
    Rule("MIX0321", Target, models.platform_has_kernel),
    Rule("MIX0322", Eval, evals.one_way),
    Rule("MIX0323", Eval, evals.answers_are_judged),
    Rule("MIX0324", Eval, evals.metric_is_measured),
    Rule("MIX0325", Study, studies.compares_something),
    Rule("MIX0325", Study, studies.does_something),
    Rule("MIX0326", Study, studies.arm_names_are_free),
    Rule("MIX0327", Mix, data.parts_differ),
    Rule("MIX0327", Study, repeats.factors_differ),
    Rule("MIX0327", Study, repeats.seeds_differ),
    Rule("MIX0327", Study, repeats.evals_differ),
    Rule("MIX0327", Study, repeats.arms_differ),
    Rule("MIX0327", Study, claims.claims_differ),
    Rule("MIX0327", Eval, evals.members_differ),
    Rule("MIX0328", Study, schedule.stages_are_there),
    Rule("MIX0328", Study, studies.dose_is_of_something),
    Rule("MIX0329", Study, claims.claims_are_decidable),
    Rule("MIX0329", Study, claims.stop_is_decidable),
    Rule("MIX0330", Study, differ.arms_differ_only_there),
    Rule("MIX0331", Study, studies.has_log_probabilities),
    Rule("MIX0332", Study, held_out.is_held_out),
    Rule("MIX0333", Study, studies.one_tokenizer),
    Rule("MIX0350", Study, studies.evals_are_declared),
    Rule("MIX0350", Eval, evals.members_are_declared),
    Rule("MIX0351", Study, schedule.evals_are_done),
    Rule("MIX0352", Study, measures.claims_compare_like_with_like),
    Rule("MIX0353", Study, measures.claims_can_come_out_either_way),
    Rule("MIX0353", Study, measures.stop_can_come),
    Rule("MIX0355", Source, predicates.fields_fit),
    Rule("MIX0355", Augment, predicates.fields_fit),
    Rule("MIX0355", Source, predicates.labels_are_quoted, "warning"),
    Rule("MIX0356", Source, predicates.conditions_choose),
    Rule("MIX0356", Augment, predicates.conditions_choose),
    Rule("MIX0357", Source, predicates.patterns_are_readable),
    Rule("MIX0357", Augment, predicates.patterns_are_readable),
    Rule("MIX0357", Eval, evals.patterns_are_readable),
    Rule("MIX0357", Reward, patterns.reward_pattern_is_readable),
    Rule("MIX0358", Source, transforms.new_fields_are_new),
    Rule("MIX0358", Augment, transforms.new_fields_are_new),
    Rule("MIX0358", Source, transforms.judges_choose),
    Rule("MIX0358", Augment, transforms.judges_choose),
    Rule("MIX0358", Source, transforms.columns_are_read),
    Rule("MIX0359", Mix, data.epochs_are_allowed),
    Rule("MIX0360", Train, lengths.batch_holds_rows),
    Rule("MIX0360", Train, lengths.answers_fit_the_sequence),
    Rule("MIX0361", Train, lengths.branches_are_parts),
    Rule("MIX0362", Train, lengths.branches_leave_the_warmup, "warning"),
)
# MIX0340 to MIX0343 are about whole files: see dsl/check.py.
