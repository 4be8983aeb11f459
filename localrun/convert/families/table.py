"""Table of convertible architectures, by the class name in ``config.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.convert.config import Config
from localrun.convert.families import (
    cohere,
    deepseek,
    encoders,
    falcon,
    gemma,
    gemma3n,
    gemma4,
    glm,
    gpt_oss,
    granite,
    lfm2,
    llama,
    nemotron,
    qwen,
    qwen_linear,
)
from localrun.convert.families.keys import PREDICTORS
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.families.architecture import Architecture

FAMILIES = {
    "LlamaForCausalLM": llama.LLAMA,
    "MistralForCausalLM": llama.LLAMA,
    "MixtralForCausalLM": llama.LLAMA,
    "Ministral3ForCausalLM": llama.MISTRAL3,
    "Mistral3ForConditionalGeneration": llama.MISTRAL3,
    "LlavaForConditionalGeneration": llama.LLAMA,
    "Idefics3ForConditionalGeneration": llama.LLAMA,
    "SmolVLMForConditionalGeneration": llama.LLAMA,
    "Llama4ForCausalLM": llama.LLAMA4,
    "Llama4ForConditionalGeneration": llama.LLAMA4,
    "SmolLM3ForCausalLM": llama.SMOLLM3,
    "ArceeForCausalLM": llama.ARCEE,
    "GraniteForCausalLM": granite.GRANITE,
    "GraniteMoeForCausalLM": granite.GRANITE_MOE,
    "GraniteMoeSharedForCausalLM": granite.GRANITE_MOE,
    "GraniteMoeHybridForCausalLM": granite.GRANITE_HYBRID,
    "NemotronHForCausalLM": nemotron.NEMOTRON,
    "FalconH1ForCausalLM": falcon.FALCON_H1,
    "Olmo2ForCausalLM": llama.OLMO2,
    "Olmo3ForCausalLM": llama.OLMO2,
    "OlmoeForCausalLM": llama.OLMOE,
    "SeedOssForCausalLM": llama.SEED_OSS,
    "Ernie4_5ForCausalLM": llama.ERNIE,
    "Ernie4_5_ForCausalLM": llama.ERNIE,
    "Phi3ForCausalLM": llama.PHI3,
    "Qwen2ForCausalLM": qwen.QWEN2,
    "Qwen2Model": qwen.QWEN2,
    "Qwen2MoeForCausalLM": qwen.QWEN2_MOE,
    "Qwen3ForCausalLM": qwen.QWEN3,
    "Qwen3Model": qwen.QWEN3,
    "Qwen3MoeForCausalLM": qwen.QWEN3_MOE,
    "Qwen2VLForConditionalGeneration": qwen.QWEN2_VL,
    "Qwen2_5_VLForConditionalGeneration": qwen.QWEN2_VL,
    "Qwen3VLForConditionalGeneration": qwen.QWEN3_VL,
    "Qwen3VLMoeForConditionalGeneration": qwen.QWEN3_VL_MOE,
    "Qwen3NextForCausalLM": qwen_linear.QWEN3_NEXT,
    "Qwen3_5ForCausalLM": qwen_linear.QWEN35,
    "Qwen3_5ForConditionalGeneration": qwen_linear.QWEN35,
    "Qwen3_5MoeForCausalLM": qwen_linear.QWEN35_MOE,
    "Qwen3_5MoeForConditionalGeneration": qwen_linear.QWEN35_MOE,
    "GemmaForCausalLM": gemma.GEMMA,
    "Gemma2ForCausalLM": gemma.GEMMA2,
    "Gemma3ForCausalLM": gemma.GEMMA3,
    "Gemma3ForConditionalGeneration": gemma.GEMMA3,
    "Gemma3TextModel": gemma.GEMMA_EMBEDDING,
    "Gemma3nForCausalLM": gemma3n.GEMMA3N,
    "Gemma3nForConditionalGeneration": gemma3n.GEMMA3N,
    "Gemma4ForCausalLM": gemma4.GEMMA4,
    "Gemma4ForConditionalGeneration": gemma4.GEMMA4,
    "CohereForCausalLM": cohere.COMMAND_R,
    "Cohere2ForCausalLM": cohere.COHERE_2,
    "Glm4ForCausalLM": glm.GLM4,
    "Glm4MoeForCausalLM": glm.GLM4_MOE,
    "DeepseekV2ForCausalLM": deepseek.DEEPSEEK2,
    "DeepseekV3ForCausalLM": deepseek.DEEPSEEK3,
    "Glm4MoeLiteForCausalLM": deepseek.GLM4_FLASH,
    "GptOssForCausalLM": gpt_oss.GPT_OSS,
    "Lfm2ForCausalLM": lfm2.LFM2,
    "Lfm2MoeForCausalLM": lfm2.LFM2_MOE,
    "BertModel": encoders.BERT,
    "BertForMaskedLM": encoders.BERT,
    "NomicBertModel": encoders.NOMIC,
    "ModernBertModel": encoders.MODERN_BERT,
    "ModernBertForMaskedLM": encoders.MODERN_BERT,
    "RobertaModel": encoders.ROBERTA,
    "RobertaForMaskedLM": encoders.ROBERTA,
}


def architectures() -> dict[str, Architecture]:
    """Return one description of each architecture by llama.cpp's name."""
    found: dict[str, Architecture] = {}
    for family in FAMILIES.values():
        for member in (family, *family.variants):
            found.setdefault(member.name, member)
    return found


def family_of(config: Config) -> Architecture:
    """Return the architecture of a model; one with variants chooses by `text_config`.

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


def text_config(config: Config, family: Architecture, num_predictors: int = 0) -> Config:
    """Return the values of the language model, with the architecture's defaults.

    A model with vision has the values in an inner object.
    """
    inner = config.inner("text_config") if config.has("text_config") else config
    present = {key: value for key, value in inner.values.items() if value is not None}
    if config.has("vision_config"):
        present["vision_config"] = config.raw("vision_config")
        if config.has("tie_word_embeddings"):
            present["tie_word_embeddings"] = config.raw("tie_word_embeddings")
    present[PREDICTORS] = num_predictors
    return family.adjust(Config({**family.defaults, **present}, inner.where))


def variant_of(family: Architecture, config: Config) -> Architecture:
    """Return the variant of an architecture by the values of the language model."""
    return family.variant(config) if family.variant else family
