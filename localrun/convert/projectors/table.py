"""Table of convertible projectors, by the class name in ``config.json``."""

from __future__ import annotations

from localrun.convert.projectors import pixtral, qwen, siglip

PROJECTORS = {
    "Qwen2VLForConditionalGeneration": qwen.QWEN2_VL,
    "Qwen2_5_VLForConditionalGeneration": qwen.QWEN25_VL,
    "Qwen3VLForConditionalGeneration": qwen.QWEN3_VL,
    "Qwen3VLMoeForConditionalGeneration": qwen.QWEN3_VL,
    "Qwen3_5ForConditionalGeneration": qwen.QWEN3_VL,
    "Qwen3_5MoeForConditionalGeneration": qwen.QWEN3_VL,
    "Gemma3ForConditionalGeneration": siglip.GEMMA3,
    "Idefics3ForConditionalGeneration": siglip.IDEFICS3,
    "SmolVLMForConditionalGeneration": siglip.IDEFICS3,
    "LlavaForConditionalGeneration": pixtral.PIXTRAL,
    "Mistral3ForConditionalGeneration": pixtral.PIXTRAL,
}
