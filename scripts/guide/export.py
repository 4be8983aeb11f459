"""Write guide and its adapter as files: GGUF for llama.cpp, safetensors and PEFT for others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gguf
import numpy as np
from safetensors.numpy import save_file

from guide.gguf_file import finish
from guide.text import CONTROL_TOKENS, TEMPLATE_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

    from guide.adapter import AdapterShape
    from guide.network import Shape

Tensors = dict[str, np.ndarray]

ARCHITECTURE = "qwen3"
GGUF_NAMES = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
FILE_TYPES = {
    "Q8_0": (gguf.LlamaFileType.MOSTLY_Q8_0, gguf.GGMLQuantizationType.Q8_0),
    "F16": (gguf.LlamaFileType.MOSTLY_F16, gguf.GGMLQuantizationType.F16),
}


def write_model(
    path: Path,
    tensors: Tensors,
    tokenizer: Tokenizer,
    shape: Shape,
    *,
    file_type: str = "Q8_0",
    figures: dict[str, float] | None = None,
) -> None:
    """Write the model as GGUF; ``figures`` are the shares of the evaluation by skill."""
    llama_type, matrix_type = FILE_TYPES[file_type]
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    _describe(writer, shape, figures or {})
    writer.add_file_type(llama_type)
    add_tokenizer(writer, tokenizer)
    add_tensors(writer, {gguf_name(name): t for name, t in tensors.items()}, matrix_type)
    finish(writer)


def write_adapter(folder: Path, path: Path, tensors: Tensors, shape: AdapterShape) -> None:
    """Write a LoRA adapter twice: as a PEFT folder and as GGUF.

    ``tensors`` are named ``layers.0.self_attn.q_proj.lora_A`` with shape (rank, in)
    and ``...lora_B`` with shape (out, rank).
    """
    folder.mkdir(parents=True, exist_ok=True)
    peft = {
        f"base_model.model.model.{name}.weight": np.ascontiguousarray(tensor)
        for name, tensor in tensors.items()
    }
    save_tensors(folder / "adapter_model.safetensors", peft)
    config = {
        "base_model_name_or_path": "guide",
        "bias": "none",
        "fan_in_fan_out": False,
        "lora_alpha": shape.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": shape.rank,
        "target_modules": sorted(shape.modules),
        "task_type": "CAUSAL_LM",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(shape.alpha))
    writer.add_name(path.stem)
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        writer.add_tensor(f"{gguf_name(module)}.weight.{part.lower()}", tensor.astype(np.float32))
    finish(writer)


def save_tensors(path: Path, tensors: Tensors) -> None:
    """Write safetensors that everybody may read (the library makes them private)."""
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def gguf_name(name: str) -> str:
    """Map ``layers.3.mlp.up_proj.weight`` to ``blk.3.ffn_up.weight``."""
    suffix = ".weight" if name.endswith(".weight") else ""
    parts = name.removesuffix(".weight").split(".")
    if parts[0] == "layers":
        return f"blk.{parts[1]}.{GGUF_NAMES['.'.join(parts[2:])]}{suffix}"
    return GGUF_NAMES[parts[0]] + suffix


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    """Add guide's vocabulary and template."""
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    kinds = [
        gguf.TokenType.CONTROL if token in CONTROL_TOKENS else gguf.TokenType.NORMAL
        for token in tokens
    ]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokenizer.token_to_id("<|endoftext|>"))
    writer.add_eos_token_id(tokenizer.token_to_id("<|im_end|>"))
    writer.add_pad_token_id(tokenizer.token_to_id("<|endoftext|>"))
    writer.add_add_bos_token(value=False)
    writer.add_chat_template(TEMPLATE_FILE.read_text())


def add_tensors(
    writer: gguf.GGUFWriter, tensors: Tensors, matrix_type: gguf.GGMLQuantizationType
) -> None:
    """Add tensors by llama.cpp's names; vectors stay float32."""
    for name, tensor in tensors.items():
        values = tensor.astype(np.float32)
        if tensor.ndim == 1:
            writer.add_tensor(name, values)
        else:
            data = gguf.quants.quantize(values, matrix_type)
            writer.add_tensor(name, data, raw_dtype=matrix_type)


def describe_shape(writer: gguf.GGUFWriter, shape: Shape, num_blocks: int) -> None:
    """Add the dimensions of a network with so many layers."""
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(num_blocks)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)


def _describe(writer: gguf.GGUFWriter, shape: Shape, figures: dict[str, float]) -> None:
    writer.add_name("guide")
    writer.add_description(
        "The model that comes with localrun; trained from scratch by scripts/train-guide."
    )
    writer.add_license("MIT")
    describe_shape(writer, shape, shape.layers)
    writer.add_vocab_size(shape.vocab)
    for skill, share in figures.items():
        writer.add_float32(f"guide.eval.{skill}", share)
