"""Tiny checkpoints of real families: their configurations, and weights made from names alone.

The configurations and the names of tensors come from transformers' classes (`generate`), so that
they are those of real models; the weights come from numpy, so that tests need no torch.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.convert.tiny import byte_tokenizer
from tests.convert.writing import bfloat16, write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.convert.writing import Array

NUM_TOKENS = 300
PICTURES = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3],
            "size": {"longest_edge": 112}}  # fmt: skip
PROMPT = [104, 101, 108, 50, 60, 70, 80, 33, 9, 200, 12, 77]  # longer than the sliding windows


def weights(shapes: Mapping[str, list[int]]) -> dict[str, Array]:
    """Return the same weights for the same names, with values that BF16 can hold."""
    found = {name: _values(name, shape) for name, shape in shapes.items()}
    for name in [name for name in found if name.endswith(".weight_scale_2")]:
        _fill_nvfp4(found, name.removesuffix("_scale_2"))
    scales = [name for name in found if name.endswith("_scale_inv")]
    for name in scales:
        weight = name.removesuffix("_scale_inv")
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        codes = rng.integers(0, 120, shapes[weight]) | (rng.integers(0, 2, shapes[weight]) << 7)
        found[weight] = codes.astype(np.uint8)
        found[name] = rng.uniform(2e-4, 4e-4, shapes[name]).astype(np.float32)
    return found


def write_checkpoint(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Array], *, exact: bool = False
) -> Path:
    """Write a model in Hugging Face's layout, in BF16, or in F32 if ``exact``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    roles = {"bos_token": "<|start|>", "eos_token": "<|end|>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 128, **roles}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if "vision_config" in config:
        (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES))
    stored = {
        name: array if exact or _is_quantized(name, array) else bfloat16(array)
        for name, array in tensors.items()
    }
    write_tensors(folder / "model.safetensors", stored)
    return folder


def _fill_nvfp4(found: dict[str, Array], weight: str) -> None:
    """Put bytes of NVFP4 in the place of a matrix, and scales of usual sizes beside them."""
    rng = np.random.default_rng(zlib.crc32(weight.encode()))
    found[weight] = rng.integers(0, 256, found[weight].shape, np.uint8)
    scales = f"{weight}_scale"
    found[scales] = rng.integers(40, 72, found[scales].shape, np.uint8)  # 0.1 to 2
    for end, low in (("weight_scale_2", 0.02), ("input_scale", 0.5)):
        name = weight.removesuffix("weight") + end
        found[name] = np.array(rng.uniform(low, 2 * low), np.float32)


def _is_quantized(name: str, array: Array) -> bool:
    return array.dtype == np.uint8 or name.endswith(("_scale_inv", "_scale_2", ".input_scale"))


def tokenizer() -> dict[str, Any]:
    """Return a byte-level tokenizer.json with a token for each row, as transformers reads it."""
    made = byte_tokenizer()
    used = len(made["model"]["vocab"]) + len(made["added_tokens"])
    made["added_tokens"] += [
        {"id": index, "content": f"<|unused {index}|>", "special": True}
        for index in range(used, NUM_TOKENS)
    ]
    made["added_tokens"][-1]["content"] = "[IMG_BREAK]"  # Pixtral's, whose embedding is needed
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for token in made["added_tokens"]:
        token.update(flags)
    made["model"]["merges"] = [["h", "e"], ["he", "l"]]
    made["model"].update(continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False)
    split, last = made["pre_tokenizer"]["pretokenizers"]
    split["invert"], last["trim_offsets"] = False, True
    made["decoder"] = {**last, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, **made}


def _values(name: str, shape: list[int]) -> Array:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = rng.normal(size=shape)
    if name.endswith("_blocks"):
        return rng.integers(0, 256, shape).astype(np.uint8)
    if name.endswith("_scales"):
        return rng.integers(121, 125, shape).astype(np.uint8)  # 2**-6 to 2**-3
    if "bias" in name:
        values *= 0.1
    elif len(shape) <= 1 or "norm" in name:
        values = 1 + 0.2 * values
    else:
        values *= shape[-1] ** -0.5
    bits = np.asarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)
