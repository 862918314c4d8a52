"""Fused attention kernels for accelerators: each computes `attention.attention` on the arrays of one device."""
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import math
from typing import Any, cast

import jax
import jax.numpy as jnp

from compiler.program.blocked import Scores
from compiler.program.execution import ATTENTION, Kernel

_LANES = 128  # of a TPU's registers: lengths are filled up to a multiple
_LARGEST_BLOCK = 512  # of queries or keys in a TPU core's fast memory at once
_GPU_BLOCK = 128  # of the Pallas kernel's forward pass; half of it where heads are wide, for want of shared memory
_NARROW_BLOCK = 32  # of its backward pass


def expresses(kernel: Kernel, softcap: float | None, window: int | None) -> bool:
    """Whether a kernel can compute attention of this kind."""
    match kernel:
        case "xla" | "splash":
            return True
        case "pallas":
            return window is None and softcap is None
        case "cudnn":
            return softcap is None


def fused_attention(
    kernel: Kernel,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    segments: jax.Array,
    scores: Scores,
    interpreted: bool,
) -> jax.Array:
    """Attention by a kernel that `expresses` it; arguments and result as in `blocked.blocked_attention`."""
    match kernel:
        case "splash":
            return _splash(query, key, value, segments, scores, interpreted)
        case "pallas":
            return _pallas(query, key, value, segments, scores, interpreted)
        case "cudnn":
            return _cudnn(query, key, value, segments, scores)
        case "xla":
            raise AssertionError("plain attention is no kernel")


def _splash(
    query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, scores: Scores, interpreted: bool
) -> jax.Array:
    """Splash attention of TPU: blocks that causality or the window masks whole are never visited."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    length, heads = query.shape[1:3]
    filled = -(-length // _LANES) * _LANES
    if scores.window is None:
        mask: Any = masks.CausalMask((filled, filled))
    else:
        mask = masks.LocalMask((filled, filled), (scores.window - 1, 0), offset=0)
    block = math.gcd(filled, _LARGEST_BLOCK)
    sizes = splash.BlockSizes(
        block_q=block, block_kv=block, block_q_dkv=block, block_kv_dkv=block, block_q_dq=block, block_kv_dq=block
    )
    kernel = cast(Any, splash.make_splash_mha_single_device)(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=sizes,
        attn_logits_soft_cap=scores.softcap,
        residual_checkpoint_name=ATTENTION,
        interpret=interpreted,
    )

    def of_row(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> jax.Array:
        return kernel(query, key, value, segment_ids=splash.SegmentIds(segments, segments))

    scaled = (query.astype(jnp.float32) * scores.scale).astype(query.dtype)  # the kernel scales nothing
    heads_first = [_filled(x, filled).swapaxes(1, 2) for x in (scaled, key, value)]
    return (
        cast(Any, jax.vmap)(of_row)(*heads_first, _filled(segments, filled))
        .swapaxes(1, 2)[:, :length]
        .astype(query.dtype)
    )


def _pallas(
    query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, scores: Scores, interpreted: bool
) -> jax.Array:
    """JAX's flash attention for GPU in Pallas. It has no grouped queries: keys and values are repeated."""
    from jax.experimental.pallas.ops.gpu import attention as flash

    length, group = query.shape[1], query.shape[2] // key.shape[2]
    filled = -(-length // _GPU_BLOCK) * _GPU_BLOCK
    block = _GPU_BLOCK if query.shape[3] <= 128 else _GPU_BLOCK // 2
    sizes = flash.BlockSizes(
        block_q=block,
        block_k=block,
        block_q_dkv=_NARROW_BLOCK,
        block_kv_dkv=_NARROW_BLOCK,
        block_q_dq=_NARROW_BLOCK,
        block_kv_dq=_NARROW_BLOCK,
    )
    repeated = [jnp.repeat(x, group, axis=2) for x in (key, value)]
    mixed = cast(Any, flash.mha)(
        *(_filled(x, filled) for x in (query, *repeated, segments)),
        sm_scale=scores.scale,
        causal=True,
        block_sizes=sizes,
        interpret=interpreted,
    )
    return mixed[:, :length]


def _cudnn(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, scores: Scores) -> jax.Array:
    """cuDNN's flash attention; segments are a mask, of a byte or two for each pair of tokens of a row."""
    same = segments[:, None, :, None] == segments[:, None, None, :]
    local = None if scores.window is None else (scores.window - 1, 0)
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        mask=same,
        scale=scores.scale,
        is_causal=True,
        local_window_size=local,
        implementation="cudnn",
    )


def _filled(x: jax.Array, length: int) -> jax.Array:
    """Padding, which is segment 0, up to a length of the second axis."""
    return jnp.pad(x, [(0, 0), (0, length - x.shape[1]), *[(0, 0)] * (x.ndim - 2)])
