"""Families of models: a tiny one of each, and how Ollama's old engine had its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gguf import GGUFValueType

from tests.engine import tiny
from tests.engine.tiny import INNER, LAYERS
from tests.translation import files, more_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.translation.files import Tensors

U32, F32, LIST = GGUFValueType.UINT32, GGUFValueType.FLOAT32, GGUFValueType.ARRAY
STRING, BOOL = GGUFValueType.STRING, GGUFValueType.BOOL


def unchanged(tensors: Tensors) -> Tensors:
    return tensors


class Family(NamedTuple):
    """A tiny model in llama.cpp's layout, and what turns it into Ollama's."""

    make: Callable[[Path, Path], None]
    architecture: str
    keys: Mapping[str, str | None] = {}
    values: Mapping[str, tuple[Any, GGUFValueType]] = {}
    tensors: tuple[tuple[str, str], ...] = ()
    undo: Callable[[Tensors], Tensors] = unchanged
    projector: tuple[str, ...] = ()
    set_keys: Mapping[str, Any] = {}  # that llama.cpp's file of the test lacks
    lost_keys: tuple[str, ...] = ()  # that a translation has, and llama.cpp does not read

    def tensor(self, name: str) -> str:
        for new, old in self.tensors:
            name = name.replace(new, old)
        return name

    def write_old(
        self,
        ours: Path,
        theirs: Path,
        projector: Tensors | None = None,
        values: Mapping[str, tuple[Any, GGUFValueType]] | None = None,
    ) -> None:
        """Write the model in Ollama's layout, with a projector and its keys or a few names."""
        files.write_as_ollama(
            ours,
            theirs,
            self.architecture,
            keys=self.keys,
            values={**self.values, **(values or {})},
            tensors=self.tensor,
            undo=self.undo,
            extra_tensors=() if projector else self.projector,
            projector=projector,
        )


def without_fused_layers(tensors: Tensors) -> Tensors:
    """Divide the feed-forward matrices of GLM-4 into gates and inputs."""
    found: Tensors = {}
    for name, array in tensors.items():
        if not name.endswith("ffn_up.weight"):
            found[name] = array
            continue
        found[name.replace("ffn_up", "ffn_gate")], found[name] = array[:INNER], array[INNER:]
    return found


def with_more_tokens(tensors: Tensors) -> Tensors:
    """Add tokens of images, which only the main table has."""
    table = tensors["token_embd.weight"]
    more = np.ones((32, table.shape[1]), table.dtype)
    return tensors | {"token_embd.weight": np.concatenate([table, more])}


MTP_NAMES = {
    "nextn.eh_proj.weight": "mtp.fc.weight",
    "nextn.enorm.weight": "mtp.pre_fc_norm_embedding.weight",
    "nextn.hnorm.weight": "mtp.pre_fc_norm_hidden.weight",
    "nextn.shared_head_norm.weight": "mtp.norm.weight",
}


def with_mtp_layers(tensors: Tensors) -> Tensors:
    """Name the last layer as Qwen does, with norms that lack their 1, and each expert alone."""
    found: Tensors = {}
    for name, array in tensors.items():
        part = name.removeprefix(f"blk.{LAYERS}.")
        if part == name:
            found[name] = array
        elif part.endswith("_exps.weight"):
            kind = part.removeprefix("ffn_").removesuffix("_exps.weight")
            for number, expert in enumerate(array):
                found[f"mtp.layers.0.mlp.experts.{number}.{kind}_proj.weight"] = expert
        else:
            is_norm = part.endswith(("norm.weight", "attn_norm.weight"))
            old = MTP_NAMES.get(part, f"mtp.layers.0.{part}")
            found[old] = array - np.float32(1) if is_norm else array
    return found


FAMILIES = {
    "gptoss": Family(
        files.gpt_oss,
        "gptoss",
        keys={"gpt-oss.expert_feed_forward_length": None, "gpt-oss.rope.scaling.type": None},
        tensors=(
            (".attn_output.", ".attn_out."),
            (".attn_sinks.weight", ".attn_sinks"),
            (".post_attention_norm.", ".ffn_norm."),
        ),
    ),
    "olmo3": Family(files.olmo2, "olmo3"),
    "mistral3": Family(
        files.mistral3,
        "mistral3",
        keys={
            "mistral3.rope.scaling.yarn_beta_fast": "mistral3.rope.scaling.beta_fast",
            "mistral3.attention.temperature_scale": "mistral3.rope.scaling_beta",
            "tokenizer.ggml.pre": None,
        },
        projector=("v.patch_conv.weight", "mm.linear_1.weight"),
    ),
    "qwen25vl": Family(
        files.qwen2vl,
        "qwen25vl",
        keys={"qwen2vl.rope.dimension_sections": None},
        values={"qwen25vl.rope.mrope_section": ([2, 3, 3], LIST)},
        projector=("v.patch_embd_0.weight",),
    ),
    "gemma3": Family(
        files.gemma3,
        "gemma3",
        keys={
            "gemma3.attention.layer_norm_rms_epsilon": None,
            "gemma3.rope.freq_base": "gemma3.rope.global.freq_base",
            "gemma3.rope.freq_base_swa": "gemma3.rope.local.freq_base",
        },
        projector=("v.blk.0.attn_q.weight", "mm.mm_input_projection.weight"),
    ),
    "lfm2": Family(
        tiny.hybrid,
        "lfm2",
        tensors=(("token_embd_norm.weight", "output_norm.weight"),),
        set_keys={"tokenizer.ggml.pre": "lfm2"},
    ),
    "gemma3n": Family(
        more_models.gemma3n,
        "gemma3n",
        keys={"tokenizer.ggml.model": None},
        values={"tokenizer.ggml.model": ("gpt2", STRING)},
        undo=with_more_tokens,
    ),
    "gemma4": Family(
        more_models.gemma4,
        "gemma4",
        keys={"tokenizer.ggml.model": None},
        values={"tokenizer.ggml.model": ("llama", STRING)},
        tensors=((".ffn_down_exps.scale", ".ffn_gate_inp.per_expert_scale"),),
        projector=("v.patch_embd.weight", "a.blk.0.ln1.weight", "mm.a.fc.weight"),
    ),
    "qwen3next": Family(
        more_models.qwen3next,
        "qwen3next",
        keys={"qwen3next.attention.head_count_kv": None},
        values={"qwen3next.attention.head_count_kv": ([0, 4, 0, 4], LIST)},
        tensors=((".ssm_dt.bias", ".ssm_dt"),),
    ),
    "qwen35": Family(
        more_models.qwen35,
        "qwen35",
        keys={
            "qwen35.attention.head_count_kv": None,
            "qwen35.rope.dimension_sections": None,
            "qwen35.block_count": None,
            "qwen35.nextn_predict_layers": None,
        },
        values={
            "qwen35.attention.head_count_kv": ([0, 4, 0, 4], LIST),
            "qwen35.rope.dimension_sections": ([2, 3, 3], LIST),
            "qwen35.block_count": (LAYERS, U32),
        },
        tensors=((".ssm_dt.bias", ".ssm_dt"),),
        undo=with_mtp_layers,
        projector=("v.blk.0.norm1.weight", "mm.0.weight"),
    ),
    "qwen35moe": Family(
        more_models.qwen35moe,
        "qwen35moe",
        keys={
            "qwen35moe.attention.head_count_kv": None,
            "qwen35moe.rope.dimension_sections": None,
            "qwen35moe.block_count": None,
            "qwen35moe.nextn_predict_layers": None,
        },
        values={
            "qwen35moe.attention.head_count_kv": ([0, 4, 0, 4], LIST),
            "qwen35moe.rope.dimension_sections": ([2, 3, 3], LIST),
            "qwen35moe.block_count": (LAYERS, U32),
        },
        tensors=((".ssm_dt.bias", ".ssm_dt"),),
        undo=with_mtp_layers,
        projector=("v.blk.0.norm1.weight",),
    ),
    "glmocr": Family(
        more_models.glm4,
        "glmocr",
        keys={
            "glm4.rope.dimension_sections": None,
            "glm4.rope.dimension_count": None,
            "tokenizer.ggml.pre": None,
        },
        values={
            "glmocr.rope.mrope_section": ([2, 3, 3], LIST),
            "tokenizer.ggml.pre": ("llama-bpe", STRING),
        },
        tensors=(
            (".attn_output.", ".attn_out."),
            (".post_attention_norm.", ".post_attn_norm."),
            (".post_ffw_norm.", ".post_ffn_norm."),
        ),
        undo=without_fused_layers,
        projector=("v.patch_embd_0.weight", "mm.post_norm.weight"),
    ),
    "deepseekocr": Family(
        more_models.deepseek2_ocr,
        "deepseekocr",
        keys={
            "deepseek2-ocr.attention.layer_norm_rms_epsilon": None,
            "deepseek2-ocr.expert_feed_forward_length": None,
            "deepseek2-ocr.expert_shared_count": None,
        },
        projector=("s.position_embd", "v.class_embd", "mm.layers.weight"),
    ),
    "glm4moelite": Family(
        more_models.glm47_flash,
        "glm4moelite",
        keys={
            "deepseek2.attention.head_count_kv": None,
            "deepseek2.attention.key_length": None,
            "deepseek2.attention.value_length": None,
            "deepseek2.attention.key_length_mla": None,
            "deepseek2.attention.value_length_mla": None,
            "deepseek2.expert_group_count": None,
            "deepseek2.expert_group_used_count": None,
            "tokenizer.ggml.pre": None,
        },
        values={
            "glm4moelite.attention.head_count_kv": (4, U32),
            "glm4moelite.attention.key_length": (16, U32),
            "glm4moelite.attention.value_length": (16, U32),
            "tokenizer.ggml.pre": ("default", STRING),
        },
    ),
    "nemotron_h_moe": Family(
        more_models.nemotron_h_moe,
        "nemotron_h_moe",
        keys={"nemotron_h_moe.moe_latent_size": None},
        tensors=((".ffn_latent_down.", ".ffn_latent_in."), (".ffn_latent_up.", ".ffn_latent_out.")),
        projector=("mtp.layers.0.mixer.experts.0.up_proj.weight",),
    ),
    "nemotron_h_omni": Family(
        more_models.nemotron_h,
        "nemotron_h_omni",
        projector=("a.subsampling.conv0.weight", "v.cls_embd", "mm.1.weight"),
    ),
    "nemotron_h_omni_moe": Family(
        more_models.nemotron_h_moe,
        "nemotron_h_omni",
        keys={"nemotron_h_moe.moe_latent_size": None},
        tensors=((".ffn_latent_down.", ".ffn_latent_in."), (".ffn_latent_up.", ".ffn_latent_out.")),
        projector=("a.subsampling.conv0.weight", "v.cls_embd", "mm.1.weight"),
    ),
    "laguna": Family(
        more_models.laguna,
        "laguna",
        keys={
            "laguna.rope.freq_base_swa": "laguna.rope.swa.freq_base",
            "laguna.rope.dimension_count_swa": "laguna.rope.swa.dimension_count",
        },
        tensors=((".attn_gate.weight", ".attn_g.weight"),),
    ),
    "llama4": Family(
        more_models.llama4,
        "llama4",
        projector=("v.class_embedding", "mm.linear_1.weight"),
    ),
    "qwen3vl": Family(
        more_models.qwen3vl,
        "qwen3vl",
        keys={"qwen3vl.rope.dimension_sections": None, "qwen3vl.n_deepstack_layers": None},
        values={"qwen3vl.vision.deepstack_visual_indexes": ([0, 1], LIST)},
        lost_keys=("qwen3vl.vision.deepstack_visual_indexes",),
        projector=("v.blk.0.norm1.weight",),
    ),
    "qwen3vlmoe": Family(
        more_models.qwen3vlmoe,
        "qwen3vlmoe",
        keys={"qwen3vlmoe.rope.dimension_sections": None, "qwen3vlmoe.n_deepstack_layers": None},
        values={"qwen3vlmoe.vision.deepstack_visual_indexes": ([0, 1], LIST)},
        lost_keys=("qwen3vlmoe.vision.deepstack_visual_indexes",),
        projector=("v.blk.0.norm1.weight",),
    ),
    "embeddinggemma": Family(
        more_models.gemma_embedding,
        "gemma3",
        keys={
            "gemma-embedding.rope.freq_base_swa": None,
            **{
                f"gemma-embedding.dense_{number}_feat_{end}": None
                for number in (2, 3)
                for end in ("in", "out")
            },
        },
        values={"gemma3.attention.causal": (False, BOOL)},
        tensors=(
            ("dense_2.weight", "dense.0.weight"),
            ("dense_3.weight", "dense.1.weight"),
            ("output_norm.weight", "norm.weight"),
        ),
    ),
    "snowflake-arctic-embed2": Family(files.t5_encoder, "bert"),
}
