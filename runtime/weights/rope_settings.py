"""Rotary settings of a model's `config.json`, in the spelling of transformers 4 (`rope_scaling`) or 5."""

from __future__ import annotations

import math
from dataclasses import replace

from compiler.program.config import DecoderConfig, RopeScaling
from runtime.weights.settings import Settings, Written

FULL, SLIDING = "full_attention", "sliding_attention"
"""Kinds of layers: values of `layer_types`, keys of `rope_parameters` where each kind has its own."""

NAMES = ("rope_theta", "rope_scaling", "rope_parameters")

_SCALED = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
    "yarn": (
        "factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale",
        "mscale_all_dim", "truncate",
    ),
}  # fmt: skip
"""The settings of each type of scaling."""


def read_rope(settings: Settings) -> tuple[float, RopeScaling | None]:
    """Base and scaling, of a family whose layers all have the same.

    Raises:
        UserError: a setting is wrong, unknown, or of a scaling that the decoder doesn't compute.
    """
    old = settings.inner("rope_scaling")
    return _read_table(old if old.written else settings.inner("rope_parameters"), settings)


def read_rope_of_kinds(settings: Settings, local_theta: float | None) -> tuple[float, RopeScaling | None, float | None]:
    """Base and scaling, and the base of windowed layers (unscaled) where they differ from the others.

    Args:
        settings: of a family that may write them for each kind of layer.
        local_theta: the base of windowed layers where the file doesn't say; None: as the others.

    Raises:
        UserError: as `read_rope`; also windowed layers that are scaled in a way of their own.
    """
    both = settings.inner("rope_parameters")
    for name in both.written.keys() - {FULL, SLIDING}:
        both.refuse(name, f"this family says it for '{FULL}' and for '{SLIDING}'")
    full, near = both.inner(FULL), both.inner(SLIDING)
    old = settings.inner("rope_scaling")
    theta, scaling = _read_table(replace(full, written=full.written | old.written), settings)
    near = replace(near, defaults={"rope_theta": theta if local_theta is None else local_theta})
    near_theta, near_scaling = _read_table(near, settings)
    if (near_theta, near_scaling) == (theta, scaling):
        return theta, scaling, None
    if near_scaling is not None:
        both.refuse(SLIDING, "windowed layers may be scaled only as the others are")
    for table in (full, near):  # transformers reads it from another place here, and never finds it
        if table.get("truncate") is False:
            table.refuse("truncate", "only true is known where kinds of layers have their own settings")
    return theta, scaling, near_theta


def written_rope(config: DecoderConfig) -> Written:
    """The settings, as transformers 4 and 5 both read them."""
    return {"rope_theta": config.rope_theta, "rope_scaling": _written_scaling(config.rope_scaling)}


def written_rope_of_kinds(config: DecoderConfig) -> Written:
    """The settings by kind of layer, which only transformers 5 reads."""
    full = {"rope_theta": config.rope_theta} | (_written_scaling(config.rope_scaling) or {"rope_type": "default"})
    own = config.window_rope_theta
    return {FULL: full, SLIDING: full if own is None else {"rope_type": "default", "rope_theta": own}}


def _read_table(table: Settings, settings: Settings) -> tuple[float, RopeScaling | None]:
    """Base and scaling from one table; what it doesn't say may stand beside it in the file."""
    key = "rope_type" if table.get("rope_type") is not None else "type"
    kind = table.get(key) or "default"
    if kind == "dynamic":
        table.refuse(key, "its frequencies follow the length of each sequence; take 'yarn', whose frequencies don't")
    if kind not in _SCALED:
        table.refuse(key, f"the decoder knows {', '.join(_SCALED)}")
    if table.get("partial_rotary_factor") not in (None, 1):
        table.refuse("partial_rotary_factor", "the decoder rotates whole heads")
    known = {"rope_type", "type", "rope_theta", "partial_rotary_factor", *_SCALED[kind]}
    for name, value in table.written.items():
        if name not in known and value is not None:
            table.refuse(name, f"a scaling of the type '{kind}' has no such setting")
    theta = table.optional_number("rope_theta") or settings.number("rope_theta")
    return theta, _scaling(kind, table, settings.count("max_position_embeddings"))


def _scaling(kind: str, table: Settings, context: int) -> RopeScaling | None:
    original = table.optional_count("original_max_position_embeddings") or context
    match kind:
        case "linear":
            return RopeScaling("linear", table.number("factor"))
        case "llama3":
            low, high = table.number("low_freq_factor"), table.number("high_freq_factor")
            if high <= low:
                table.refuse("high_freq_factor", f"it must be above 'low_freq_factor', which is {low}")
            return RopeScaling("llama3", table.number("factor"), original, low, high)
        case "yarn":
            factor = table.optional_number("factor") or context / original
            scale, whole = table.optional_number("mscale"), table.optional_number("mscale_all_dim")
            usual = _growth(factor, scale) / _growth(factor, whole) if scale and whole else _growth(factor, 1.0)
            return RopeScaling(
                "yarn",
                factor,
                original,
                beta_fast=table.optional_number("beta_fast") or 32.0,
                beta_slow=table.optional_number("beta_slow") or 1.0,
                attention_factor=table.optional_number("attention_factor") or usual,
                truncate=table.get("truncate") is None or table.switch("truncate"),
            )
        case _:
            return None


def _growth(factor: float, scale: float) -> float:
    """By how much queries and keys are lengthened for a factor (arXiv:2309.00071, eq. 22)."""
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def _written_scaling(scaling: RopeScaling | None) -> Written | None:
    if scaling is None:
        return None
    written: Written = {"rope_type": scaling.kind, "factor": scaling.factor}
    match scaling.kind:
        case "linear":
            return written
        case "llama3":
            own = {"low_freq_factor": scaling.low_frequency_factor, "high_freq_factor": scaling.high_frequency_factor}
        case "yarn":
            own = {
                "beta_fast": scaling.beta_fast,
                "beta_slow": scaling.beta_slow,
                "attention_factor": scaling.attention_factor,
            } | ({} if scaling.truncate else {"truncate": False})
    return written | {"original_max_position_embeddings": scaling.original_context} | own
