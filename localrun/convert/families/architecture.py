"""Description of a convertible architecture: the differences between its files and GGUF."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import gguf

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from localrun.convert.config import Config
    from localrun.convert.safetensors import Array
    from localrun.convert.sources import TensorSource

    Pieces = Iterable[tuple[str, TensorSource]]

Kind = Literal["decoder", "encoder"]

GATE_SILU = ("silu", "swish")
GELU_TANH = ("gelu_pytorch_tanh",)


def no_more_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Write nothing: the keys that all decoders have are enough."""


def nothing_computed(config: Config) -> dict[str, Array]:
    """Return no tensors."""
    del config
    return {}


def no_predictors(names: Iterable[str]) -> int:
    """Return 0: layers that predict further tokens are left out."""
    del names
    return 0


def same_config(config: Config) -> Config:
    """Return the configuration as it is."""
    return config


def one_piece(name: str, source: TensorSource, config: Config) -> Pieces:
    """Return the tensor itself."""
    del config
    return ((name, source),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """An architecture, and the differences between its files and llama.cpp's tensors.

    ``norm_offset`` is added to the weights of norms, except ``plain_norms``. With
    ``permutes_heads``, the halves of each head's rotated dimensions are interleaved.
    ``skips_positions`` is the number of leading rows of the position table that no text uses.
    ``defaults`` are transformers' values for keys that ``config.json`` lacks.

    ``rotated`` is the key of the number of rotated dimensions of a head, if that is not a share of
    the head; ``context`` are the keys of the trained context, the first one that is there counts,
    unless ``context_length`` is the context of all such models.

    ``describe`` writes further keys; without ``has_usual_heads`` also those of the heads' sizes.
    ``renames`` are replaced in the names of tensors, ``pieces`` takes a tensor apart or leaves it
    out. Tensors whose names match ``stacked`` become one along a new first dimension, by the
    number in the second group; ``computed`` are tensors that follow from the configuration;
    ``tokenizer`` is llama.cpp's name of one that the files do not distinguish from LLaMA's.
    ``predictors`` counts the layers that predict further tokens by the names of the tensors.
    With ``has_dense_modules``, the layers of sentence-transformers behind the model belong to it.
    ``adapter_pieces`` takes the rows of an adapter's matrix apart, by what the model's header says.
    ``layer_kinds`` names the kind of each layer if layers differ; layers of a kind have the
    same tensors. ``unadaptable`` are parts of GGUF names of matrices to which llama.cpp does not
    apply adapters, or whose rows are stored in another order.

    ``adjust`` gives values of older and newer files the same keys. ``variant`` chooses another
    description by the configuration; ``variants`` are all that it may choose.
    """

    architecture: gguf.MODEL_ARCH
    kind: Kind = "decoder"
    activations: tuple[str, ...] = GATE_SILU
    norm_offset: float = 0.0
    plain_norms: tuple[str, ...] = ()
    epsilon: str = "rms_norm_eps"
    permutes_heads: bool = False
    skips_positions: int = 0
    is_always_tied: bool = False
    has_experts: bool = False
    has_usual_heads: bool = True
    rotated: str = ""
    has_rope: bool = True
    context: tuple[str, ...] = ("max_position_embeddings",)
    context_length: int = 0
    scales_yarn: bool = False
    defaults: Mapping[str, object] = field(default_factory=dict)
    describe: Callable[[gguf.GGUFWriter, Config], None] = no_more_keys
    pieces: Callable[[str, TensorSource, Config], Pieces] = one_piece
    renames: tuple[tuple[str, str], ...] = ()
    layer_kinds: Callable[[Config], Sequence[str]] | None = None
    unadaptable: tuple[str, ...] = ()
    feed_forward: str = "intermediate_size"
    predictors: Callable[[Iterable[str]], int] = no_predictors
    computed: Callable[[Config], dict[str, Array]] = nothing_computed
    stacked: re.Pattern[str] | None = None
    has_dense_modules: bool = False
    tokenizer: Literal["", "gemma4"] = ""
    adapter_pieces: Callable[[str, TensorSource, Config], Pieces] | None = None
    adjust: Callable[[Config], Config] = same_config
    variant: Callable[[Config], Architecture] | None = None
    variants: tuple[Architecture, ...] = ()

    @property
    def name(self) -> str:
        """Return llama.cpp's name of the architecture."""
        return gguf.MODEL_ARCH_NAMES[self.architecture]
