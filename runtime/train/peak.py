"""What the devices of a training could do at best, for its utilisation."""

from __future__ import annotations

import re

import jax

from compiler.targets import CHIPS
from runtime.train.placement import Placement

_TPUS = {
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
}
"""JAX's names for them."""


def peak_of(placement: Placement) -> float | None:
    """Floating-point operations a second of all devices of a training, in dense bfloat16 products.

    None where the table of chips doesn't have the device, as with CPUs: then no utilisation is claimed.
    """
    chip = chip_of(jax.local_devices()[0].device_kind)
    return None if chip is None else CHIPS[chip].flops * (1 if placement.mesh is None else placement.mesh.size)


def chip_of(kind: str) -> str | None:
    """The name in `CHIPS` of a device as JAX calls it (`NVIDIA H100 80GB HBM3`); None of one that isn't there.

    PCIe cards and NVL pairs are slower than the modules of the table.
    """
    if kind in _TPUS:
        return _TPUS[kind]
    found = re.match(r"NVIDIA (A100|H100|H200|B200)\b(?!.*(PCI|NVL))", kind)
    return None if found is None else found[1].lower()
