"""Table of convertible architectures, by the class name in ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import gguf

from localrun.convert.config import Config
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["decoder", "encoder"]

GATE_SILU = ("silu", "swish")
GELU_TANH = ("gelu_pytorch_tanh",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """An architecture, and the differences between its files and llama.cpp's tensors.

    ``norm_offset`` is added to the weights of norms. With ``permutes_heads``, the halves of each
    head's rotated dimensions are interleaved. ``skips_positions`` is the number of leading rows of
    the position table that no text uses. ``defaults`` are transformers' values for keys that
    ``config.json`` lacks.
    """

    architecture: gguf.MODEL_ARCH
    kind: Kind = "decoder"
    activations: tuple[str, ...] = GATE_SILU
    norm_offset: float = 0.0
    permutes_heads: bool = False
    skips_positions: int = 0
    is_always_tied: bool = False
    defaults: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return llama.cpp's name of the architecture."""
        return gguf.MODEL_ARCH_NAMES[self.architecture]


LLAMA = Architecture(architecture=gguf.MODEL_ARCH.LLAMA, permutes_heads=True)
QWEN2 = Architecture(architecture=gguf.MODEL_ARCH.QWEN2)
QWEN3 = Architecture(architecture=gguf.MODEL_ARCH.QWEN3, defaults={"head_dim": 128})
PHI3 = Architecture(architecture=gguf.MODEL_ARCH.PHI3)
GEMMA2 = Architecture(
    architecture=gguf.MODEL_ARCH.GEMMA2,
    activations=GELU_TANH,
    norm_offset=1.0,
    is_always_tied=True,
    defaults={
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "hidden_act": "gelu_pytorch_tanh",
    },
)
GEMMA3 = Architecture(
    architecture=gguf.MODEL_ARCH.GEMMA3,
    activations=GELU_TANH,
    norm_offset=1.0,
    is_always_tied=True,
    defaults={
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "max_position_embeddings": 131_072,
        "sliding_window": 4096,
        "hidden_act": "gelu_pytorch_tanh",
    },
)
BERT = Architecture(
    architecture=gguf.MODEL_ARCH.BERT,
    kind="encoder",
    activations=("gelu",),
    defaults={"layer_norm_eps": 1e-12, "type_vocab_size": 2},
)
ROBERTA = Architecture(
    architecture=gguf.MODEL_ARCH.BERT,
    kind="encoder",
    activations=("gelu",),
    skips_positions=2,  # positions begin behind that of the padding token, 1
    defaults={"layer_norm_eps": 1e-12, "type_vocab_size": 2},
)
FAMILIES = {
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "Qwen2ForCausalLM": QWEN2,
    "Qwen2Model": QWEN2,
    "Qwen3ForCausalLM": QWEN3,
    "Qwen3Model": QWEN3,
    "Gemma2ForCausalLM": GEMMA2,
    "Gemma3ForCausalLM": GEMMA3,
    "Gemma3ForConditionalGeneration": GEMMA3,
    "Phi3ForCausalLM": PHI3,
    "BertModel": BERT,
    "BertForMaskedLM": BERT,
    "RobertaModel": ROBERTA,
    "RobertaForMaskedLM": ROBERTA,
}


def family_of(config: Config) -> Architecture:
    """Return the architecture of a model.

    Raises:
        UsageError: the architecture cannot be converted; the message lists those that can.
    """
    names = config.texts("architectures")
    for name in names:
        if name in FAMILIES:
            return FAMILIES[name]
    raise UsageError(
        f"{config.where}: the architecture {', '.join(names) or '(none)'} cannot be converted; "
        f"these can: {', '.join(FAMILIES)}",
        hint="look for the same model as GGUF",
    )


def text_config(config: Config, family: Architecture) -> Config:
    """Return the values of the language model, with the architecture's defaults.

    A model with vision has the values in an inner object.
    """
    inner = config.inner("text_config") if config.has("text_config") else config
    present = {key: value for key, value in inner.values.items() if value is not None}
    return Config({**family.defaults, **present}, inner.where)
