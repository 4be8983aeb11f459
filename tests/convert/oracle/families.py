"""Configurations of the tiny checkpoints, by transformers' names; imported by `generate` only."""

from __future__ import annotations

import math
from typing import Any

USUAL: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "bos_token_id": 258, "eos_token_id": 257, "pad_token_id": 257, "dtype": "bfloat16",
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
ROUTED = {
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
}  # fmt: skip
LATENT = {
    "num_key_value_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 48, "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8, "v_head_dim": 16,
}  # fmt: skip
MULTIPLIERS = {
    "embedding_multiplier": 12.0, "logits_scaling": 8.0, "residual_multiplier": 0.22,
    "attention_multiplier": 0.015625,
}  # fmt: skip
HEAD = {"head_dim": 32}
FOUR = {"num_hidden_layers": 4}
WINDOW = {"sliding_window": 8}
GEMMA = {**HEAD, **WINDOW, "query_pre_attn_scalar": 32}
DELTA = {
    **FOUR, **HEAD, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4,
}  # fmt: skip
SHARED = {**EXPERTS, "shared_expert_intermediate_size": 48}
MAMBA = {
    **FOUR, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 2,
    "mamba_expand": 2, "mamba_d_conv": 4,
}  # fmt: skip
NEMOTRON = {
    **FOUR, **HEAD, "mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 2,
    "chunk_size": 16,
}  # fmt: skip
LAYERED = {
    **FOUR, **WINDOW, **HEAD, "hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 290,
    "layer_types": ["sliding_attention", "full_attention"] * 2, "num_kv_shared_layers": 2,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "arcee": ("Arcee", {}),
    "cohere": ("Cohere", {"logit_scale": 0.25}),
    "deepseek2": ("DeepseekV2", {**ROUTED, **LATENT}),
    "deepseek3": ("DeepseekV3", {**ROUTED, **LATENT, "n_group": 2, "topk_group": 1}),
    "deepseek3_fp8": ("DeepseekV3", {**ROUTED, **LATENT, "n_group": 2, "topk_group": 1}),
    "ernie4_5": ("Ernie4_5", {}),
    "gemma": ("Gemma", {**HEAD, "num_key_value_heads": 1}),
    "gemma2": ("Gemma2", GEMMA),
    "gemma3": ("Gemma3", GEMMA),
    "glm4": ("Glm4", HEAD),
    "glm4moe": ("Glm4Moe", {**ROUTED, **HEAD, "num_nextn_predict_layers": 0}),
    "gptoss": ("GptOss", {
        **LOCAL, **HEAD, **WINDOW, "layer_types": ["sliding_attention", "full_attention"],
    }),
    "gptoss_mxfp4": ("GptOss", {
        **LOCAL, **HEAD, **WINDOW, "layer_types": ["sliding_attention", "full_attention"],
    }),
    "granite": ("Granite", MULTIPLIERS),
    "granitemoe": ("GraniteMoe", {**LOCAL, **MULTIPLIERS}),
    "lfm2": ("Lfm2", {
        "layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False,
    }),
    "lfm2moe": ("Lfm2Moe", {
        **EXPERTS, "layer_types": ["conv", "full_attention"], "num_dense_layers": 1,
    }),
    "glm4flash": ("Glm4MoeLite", {**ROUTED, **LATENT, "n_group": 1, "topk_group": 1}),
    "llama": ("Llama", {}),
    "llama4": ("Llama4", {
        **LOCAL, **HEAD, **FOUR, "num_experts_per_tok": 1, "intermediate_size_mlp": 96,
        "interleave_moe_layer_step": 2, "attention_chunk_size": 64,
    }),
    "ministral3": ("Ministral3", HEAD),
    "mixtral": ("Mixtral", LOCAL),
    "olmo2": ("Olmo2", {}),
    "olmo3": ("Olmo3", {**FOUR, **WINDOW}),
    "olmoe": ("Olmoe", {"num_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 4}),
    "qwen2moe": ("Qwen2Moe", {**EXPERTS, "shared_expert_intermediate_size": 64}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", HEAD),
    "qwen3_nvfp4": ("Qwen3", {**HEAD, "intermediate_size": 128}),
    "qwen3moe_nvfp4": ("Qwen3Moe", {
        **EXPERTS, **HEAD, "norm_topk_prob": True, "moe_intermediate_size": 64,
    }),
    "qwen35_nvfp4": ("Qwen3_5", {
        **DELTA, "linear_value_head_dim": 64, "linear_key_head_dim": 64, "intermediate_size": 128,
    }),
    "qwen3_fp8": ("Qwen3", {**HEAD, "intermediate_size": 160}),
    "qwen3moe": ("Qwen3Moe", {**EXPERTS, **HEAD, "norm_topk_prob": True}),
    "qwen3next": ("Qwen3Next", {**SHARED, **DELTA, "norm_topk_prob": True}),
    "qwen35": ("Qwen3_5", DELTA),
    "qwen35_mtp": ("Qwen3_5", {**DELTA, "mtp_num_hidden_layers": 1}),
    "qwen35moe_mtp": ("Qwen3_5Moe", {**SHARED, **DELTA, "mtp_num_hidden_layers": 1}),
    "qwen3next_mtp": ("Qwen3Next", {**SHARED, **DELTA, "norm_topk_prob": True}),
    "qwen35moe": ("Qwen3_5Moe", {**SHARED, **DELTA}),
    "seedoss": ("SeedOss", HEAD),
    "cohere2": ("Cohere2", {**FOUR, **WINDOW, "logit_scale": 0.25}),
    "falconh1": ("FalconH1", {
        **HEAD, "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 2,
        "mamba_d_state": 16, "mamba_rms_norm": True, "mamba_norm_before_gate": False,
        "attention_in_multiplier": 0.9, "attention_out_multiplier": 0.8, "key_multiplier": 0.7,
        "embedding_multiplier": 5.5, "lm_head_multiplier": 0.04, "ssm_in_multiplier": 0.6,
        "ssm_out_multiplier": 1.1, "mlp_multipliers": [0.9, 0.35],
        "ssm_multipliers": [0.35, 0.25, 0.75, 0.5, 0.3],
    }),
    "gemma3n": ("Gemma3n", {
        **LAYERED, "laurel_rank": 64, "intermediate_size": [1536] * 4,
        "activation_sparsity_pattern": [0.95] * 4, "num_kv_shared_layers": 0,
    }),
    "gemma4": ("Gemma4", {
        **LAYERED, "global_head_dim": 64, "final_logit_softcapping": 30.0,
        "use_double_wide_mlp": True, "vocab_size_per_layer_input": 300,
    }),
    "gemma4moe": ("Gemma4", {
        **WINDOW, **HEAD, "global_head_dim": 64, "hidden_size_per_layer_input": 0,
        "num_global_key_value_heads": 1, "attention_k_eq_v": True, "enable_moe_block": True,
        "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 32,
        "layer_types": ["sliding_attention", "full_attention"],
    }),
    "granite4": ("GraniteMoeHybrid", {
        **FOUR, **MULTIPLIERS, "layer_types": ["attention"] * 4, "num_local_experts": 0,
        "num_experts_per_tok": 0, "shared_intermediate_size": 96, "position_embedding_type": "rope",
    }),
    "granite4hybrid": ("GraniteMoeHybrid", {
        **MAMBA, **MULTIPLIERS, **LOCAL, "shared_intermediate_size": 48,
        "layer_types": ["mamba", "attention", "mamba", "mamba"], "position_embedding_type": None,
    }),
    "granite4micro": ("GraniteMoeHybrid", {
        **MAMBA, **MULTIPLIERS, "num_local_experts": 0, "num_experts_per_tok": 0,
        "shared_intermediate_size": 96, "layer_types": ["mamba", "attention", "mamba", "mamba"],
        "position_embedding_type": "nope",
    }),
    "granitemoeshared": ("GraniteMoeShared", {
        **LOCAL, **MULTIPLIERS, "shared_intermediate_size": 48,
    }),
    "nemotronh": ("NemotronH", {
        **NEMOTRON, "layers_block_type": ["mamba", "mlp", "attention", "mlp"],
    }),
    "nemotronhmoe": ("NemotronH", {
        **NEMOTRON, "layers_block_type": ["mamba", "moe", "attention", "moe"],
        "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 48,
        "n_routed_experts": 4, "num_experts_per_tok": 2, "routed_scaling_factor": 2.5,
    }),
    "phi3": ("Phi3", {"sliding_window": 64}),
    "phi4mini": ("Phi3", {
        "tie_word_embeddings": True, "max_position_embeddings": 1024,
        "original_max_position_embeddings": 512,
        "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 512, "long_factor": [1.5, 2.0, 2.5, 3.0, 3.5, 4.0],
            "short_factor": [1.0, 1.0, 1.1, 1.1, 1.2, 1.2],
        },
    }),
    "smollm3": ("SmolLM3", FOUR),
}  # fmt: skip
CONFIGS = {
    "Gemma3": "Gemma3TextConfig",
    "Gemma3Text": "Gemma3TextConfig",
    "Gemma3n": "Gemma3nTextConfig",
    "Gemma4": "Gemma4TextConfig",
    "Llama4": "Llama4TextConfig",
    "Qwen3_5": "Qwen3_5TextConfig",
    "Qwen3_5Moe": "Qwen3_5MoeTextConfig",
}  # named otherwise
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemmaembedding": ("Gemma3Text", {
        **GEMMA, "num_hidden_layers": 6, "use_bidirectional_attention": True,
    }),
    "modernbert": ("ModernBert", {
        **FOUR, "local_attention": 8, "global_attn_every_n_layers": 3, "cls_token_id": 258,
        "sep_token_id": 257,
    }),
    "nomicbert": ("NomicBert", {"num_key_value_heads": 4}),
}  # fmt: skip
# transformers has no class for it: a dense layer and one of experts, with biases
NOMIC_MOE: dict[str, Any] = {
    "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "n_embd": 64, "n_layer": 2,
    "n_head": 4, "n_inner": 96, "n_positions": 2048, "max_trained_positions": 2048,
    "layer_norm_epsilon": 1e-5, "rotary_emb_base": 10000.0, "activation_function": "gelu",
    "causal": False, "qkv_proj_bias": True, "mlp_fc1_bias": True, "mlp_fc2_bias": True,
    "prenorm": False, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None, "moe_every_n_layers": 2, "moe_top_k": 2, "num_experts": 4,
    "vocab_size": 300, "type_vocab_size": 1,
}  # fmt: skip
NOMIC_SHAPES = {
    "embeddings.word_embeddings.weight": [300, 64],
    "embeddings.token_type_embeddings.weight": [1, 64],
    **{f"{norm}.{end}": [64] for end in ("weight", "bias") for norm in (
        "emb_ln", *(f"encoder.layers.{at}.norm{side}" for at in (0, 1) for side in (1, 2)))},
    **{f"encoder.layers.{at}.attn.{name}": shape for at in (0, 1) for name, shape in (
        ("Wqkv.weight", [192, 64]), ("Wqkv.bias", [192]), ("out_proj.weight", [64, 64]),
        ("out_proj.bias", [64]))},
    "encoder.layers.0.mlp.fc1.weight": [96, 64], "encoder.layers.0.mlp.fc1.bias": [96],
    "encoder.layers.0.mlp.fc2.weight": [64, 96], "encoder.layers.0.mlp.fc2.bias": [64],
    "encoder.layers.1.mlp.router.layer.weight": [4, 64],
    "encoder.layers.1.mlp.experts.mlp.w1": [384, 64],
    "encoder.layers.1.mlp.experts.mlp.w2": [384, 64],
    "encoder.layers.1.mlp.experts.bias": [64],
}  # fmt: skip
HANDMADE = {"nomicbertmoe": (NOMIC_MOE, NOMIC_SHAPES)}
TEXT = {key: value for key, value in USUAL.items() if key != "dtype"}
VISION = {"depth": 3, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "patch_size": 14,
          "out_hidden_size": 64}  # fmt: skip
ROPE = {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [4, 2, 2]}
SIGLIP = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": 56, "patch_size": 14, "model_type": "siglip_vision_model",
}  # fmt: skip
PIXTRAL = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14, "model_type": "pixtral",
}  # fmt: skip
SEEING: dict[str, tuple[str, dict[str, Any]]] = {
    "mistral3": ("Mistral3", {
        "text_config": {**TEXT, **HEAD, "model_type": "mistral"},
        "vision_config": {
            "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3,
            "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
            "model_type": "pixtral",
        },
    }),
    "qwen25vl": ("Qwen2_5_VL", {
        "text_config": {**TEXT, "rope_parameters": ROPE}, "vision_config": VISION,
    }),
    "qwen3vl": ("Qwen3VL", {
        "text_config": {**TEXT, "head_dim": 16, "rope_parameters": ROPE},
        "vision_config": {
            **VISION, "deepstack_visual_indexes": [0], "num_position_embeddings": 16,
        },
    }),
    "qwen3vlmoe": ("Qwen3VLMoe", {
        "text_config": {
            **TEXT, **EXPERTS, "moe_intermediate_size": 48, "head_dim": 16,
            "norm_topk_prob": True, "rope_parameters": ROPE,
        },
        "vision_config": {
            **VISION, "deepstack_visual_indexes": [0], "num_position_embeddings": 16,
        },
    }),
    "qwen35vl": ("Qwen3_5", {
        "text_config": {**TEXT, **DELTA},
        "vision_config": {**VISION, "num_position_embeddings": 16},
    }),
    "gemma3vl": ("Gemma3", {"text_config": {**TEXT, **GEMMA}, "vision_config": SIGLIP,
                            "mm_tokens_per_image": 4}),
    "pixtral": ("Llava", {
        "text_config": {**TEXT, **HEAD, "model_type": "mistral"}, "vision_config": PIXTRAL,
        "vision_feature_layer": -1, "vision_feature_select_strategy": "full",
    }),
    "smolvlm": ("SmolVLM", {
        "text_config": {
            **TEXT, "model_type": "llama", "architectures": ["VLlama3ForCausalLM"],
        }, "vision_config": {
            **SIGLIP, "model_type": "smolvlm_vision",
        }, "scale_factor": 2, "image_token_id": 256, "tie_word_embeddings": False,
    }),
}  # fmt: skip
PACKED = (".experts.gate_up_proj", ".experts.down_proj")
TRANSPOSED = ("qwen3vlmoe",)  # published so; transformers 5 saves another layout
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128],
       "activation_scheme": "dynamic", "dequantize": True}  # fmt: skip
QUANTIZED: dict[str, dict[str, Any]] = {
    "gptoss_mxfp4": {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head",
    ]},
    "deepseek3_fp8": FP8,
    "qwen3_fp8": FP8,
    "qwen3_nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4"},
    "qwen35_nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4"},
    "qwen3moe_nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4"},
}  # fmt: skip
# published files have other keys than those that transformers 5 writes, and llama.cpp reads them
PUBLISHED: dict[str, dict[str, Any]] = {
    "granite4": {"layer_types": ["attention"] * 4, "mamba_n_heads": 128},
    "granite4hybrid": {
        "layer_types": ["mamba", "attention", "mamba", "mamba"], "time_step_limit": [0.0, math.inf],
    },
    "granite4micro": {"layer_types": ["mamba", "attention", "mamba", "mamba"]},
    "nemotronh": {
        "layers_block_type": None, "hybrid_override_pattern": "M-*-", "num_hidden_layers": 4,
        "num_experts_per_tok": None, "n_routed_experts": None, "n_group": None, "topk_group": None,
    },
    "nemotronhmoe": {
        "layers_block_type": None, "hybrid_override_pattern": "ME*E", "num_hidden_layers": 4,
    },
    "cohere2": {"rotary_pct": 1.0},
    "modernbert": {
        "rope_parameters": None, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0,
        "layer_norm_eps": 1e-5, "num_key_value_heads": None, "layer_types": None,
    },
    "nomicbert": {
        "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 96, "n_positions": 8192,
        "max_trained_positions": 2048, "layer_norm_epsilon": 1e-12, "rotary_emb_base": 1000.0,
        "activation_function": "swiglu", "causal": False, "qkv_proj_bias": False,
        "mlp_fc1_bias": False, "mlp_fc2_bias": False, "prenorm": False, "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "hidden_size": None,
        "num_hidden_layers": None, "num_attention_heads": None, "intermediate_size": None,
        "layer_norm_eps": None, "rope_parameters": None, "hidden_act": None, "head_dim": None,
        "num_key_value_heads": None, "max_position_embeddings": None,
    },
}  # fmt: skip
PREDICTING = ("qwen35_mtp", "qwen35moe_mtp", "qwen3next_mtp")  # transformers ignores these layers
RENAMED = {"gemma3vl": {"vision_tower.": "vision_tower.vision_model."}}  # published so
