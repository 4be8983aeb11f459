"""Names of tensors: from those of a model's folder to those of GGUF."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.keys import num_layers, num_predictors
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Architecture

HEADS = ("lm_head.", "head.", "decoder.")  # of encoders that predict hidden words
SUFFIXES = (".weight", ".bias", ".scale", ".input_scale")
WITHOUT_SUFFIX = (".ssm_a", ".ssm_d", ".ffn_norm")
WHOLE_NAMES = ("model.", "backbone.", "mtp.", "lm_head.", "vision_tower.", "multi_modal_",
               "visual.", "vision_model.", "dense_")  # fmt: skip
BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
SKIPPED = re.compile(
    r"rotary_emb\.inv_freq$|position_ids$|^pooler\.|^cls\."
    r"|^(model\.)?(vision_tower|multi_modal_projector|visual|vision_model|audio_tower|connector"
    r"|embed_vision|embed_audio)\."
)


class TensorNames:
    """The GGUF names of an architecture's tensors."""

    def __init__(self, family: Architecture, config: Config) -> None:
        self._family = family
        num_blocks = num_layers(config) + num_predictors(config)
        self._map = gguf.get_tensor_name_map(family.architecture, num_blocks)
        self._is_tied = family.is_always_tied or config.flag("tie_word_embeddings", default=False)

    def of(self, name: str) -> str | None:
        """Return the GGUF name of a tensor's `plain` name, or None if GGUF does not need it.

        Raises:
            UsageError: the architecture has no such tensor.
        """
        if SKIPPED.search(name) or (name == "lm_head.weight" and self._is_tied):
            return None
        if self._family.kind == "encoder" and name.startswith(HEADS):
            return None
        if BLOCK.fullmatch(name):  # the map does not have it yet
            return name
        gguf_name = self._map.get_name(name, try_suffixes=SUFFIXES)
        if gguf_name is None or not gguf_name.endswith((*SUFFIXES, *WITHOUT_SUFFIX)):
            raise UsageError(
                f"tensor {name} is not one of {self._family.name}'s, the model is another",
                hint="a quantized model or an adapter? take the plain model",
            )
        return gguf_name

    def plain(self, source: str) -> str:
        """Return the tensor's name in transformers' class for causal language models."""
        for old, new in self._family.renames:
            source = source.replace(old, new)
        if self._family.kind == "encoder":
            name = re.sub(r"^(bert|roberta|model)\.", "", source)
            return name.replace(".gamma", ".weight").replace(".beta", ".bias")
        name = re.sub(r"^(model\.language_model|language_model\.model)\.", "model.", source)
        name = name.removeprefix("language_model.")
        return name if name.startswith(WHOLE_NAMES) else f"model.{name}"
