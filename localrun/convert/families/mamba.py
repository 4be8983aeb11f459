"""Mamba 2 layers of hybrid models: keys and tensors that Granite 4, Nemotron-H and Falcon-H1 share.

llama.cpp has a column for each value of A and D, and a row for each group of the norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from localrun.convert.sources import ComputedTensor, reshaped
from localrun.errors import IntegrityError

if TYPE_CHECKING:
    import gguf

    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.safetensors import Array
    from localrun.convert.sources import TensorSource

UNBOUNDED_CONTEXT = 1 << 20  # of models without positions
UNADAPTABLE = (".ssm_a", ".ssm_d", ".ssm_conv1d.", ".ssm_dt.", ".ssm_norm.")


def describe_mamba(
    writer: gguf.GGUFWriter, *, kernel: int, state: int, groups: int, heads: int, inner: int
) -> None:
    """Write the sizes of the state space layers."""
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_state_size(state)
    writer.add_ssm_group_count(groups)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_time_step_rank(heads)


def mamba_pieces(name: str, source: TensorSource, groups: int) -> Pieces:
    """Return a tensor of a state space layer in llama.cpp's shape."""
    if name.endswith((".A_log", ".D")):
        if name.endswith(".A_log"):
            source = ComputedTensor(name=name, source=source, function=negative_exponential)
        source = reshaped(source, name, (*source.shape, 1))
    elif name.endswith(".dt_bias"):
        name = f"{name.removesuffix('.dt_bias')}.dt_proj.bias"
    elif name.endswith(".conv1d.weight"):
        source = reshaped(source, name, (source.shape[0], source.shape[-1]))
    elif name.endswith((".mamba.norm.weight", ".mixer.norm.weight")):
        if source.shape[0] % groups:
            raise IntegrityError(f"tensor {source.name} has the shape {source.shape}")
        source = reshaped(source, name, (groups, source.shape[0] // groups))
    return ((name, source),)


def negative_exponential(values: Array) -> Array:
    """Return A of its stored logarithm."""
    return -np.exp(values)


def check_kinds(config: Config, kinds: list[str], allowed: tuple[str, ...], key: str) -> list[str]:
    """Return the kinds of all layers.

    Raises:
        IntegrityError: a layer has no kind, or an unknown one.
    """
    if len(kinds) != config.count("num_hidden_layers") or set(kinds) - set(allowed):
        raise config.wrong(key, f"{', '.join(allowed)} for every layer")
    return kinds
