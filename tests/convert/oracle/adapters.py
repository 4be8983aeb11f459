"""Adapters of the tiny checkpoints: random pairs of matrices for what can be adapted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.convert.adapted import adapter_tensors, write_adapter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.convert.writing import Array

RANK, SCALE = 4, 2.0
PROJECTIONS = ("q", "k", "v", "o", "qkv", "up", "down", "gate_up", "in")
ADAPTED = (*(f".{part}_proj" for part in PROJECTIONS), "self_attn.out_proj", "mamba.out_proj",
           "mixer.out_proj", "shared_mlp.input_linear", "shared_mlp.output_linear")  # fmt: skip
# what llama.cpp does not adapt, or our converter cannot, as its weights are changed by multipliers
NOT_ADAPTED = {
    "falcon_h1": (
        ".q_proj",
        ".k_proj",
        ".v_proj",
        ".o_proj",
        ".down_proj",
        ".in_proj",
        ".out_proj",
    ),
}


def random_pairs(plain: Mapping[str, Array], model_type: str) -> dict[str, tuple[Array, Array]]:
    """Return A and B for the matrices outside of experts."""
    rng, refused = np.random.default_rng(2), NOT_ADAPTED.get(model_type, ())
    found = {}
    for name, values in plain.items():
        module = name.removesuffix(".weight")
        is_other = values.ndim > 2 or any(part in module for part in (".experts.", "vis", "mtp."))
        if module.endswith(ADAPTED) and not module.endswith(refused) and not is_other:
            rows, columns = values.shape
            a = rng.normal(size=(RANK, columns)).astype(np.float32) * columns**-0.5
            found[module] = (a, rng.normal(size=(rows, RANK)).astype(np.float32) / 8)
    return found


def write_pairs(folder: Path, pairs: Mapping[str, tuple[Array, Array]]) -> Path:
    """Write the adapter in PEFT's form."""
    return write_adapter(folder, adapter_tensors(pairs), r=RANK, lora_alpha=RANK * SCALE)
