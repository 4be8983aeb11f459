"""Tiny checkpoints of each family, converted here and by llama.cpp's own converter.

The golden files have that converter's keys and tensors, and transformers' logits in float32.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest

from localrun.convert.families.table import FAMILIES
from localrun.convert.lora import convert_adapter
from localrun.convert.model import convert_folder
from localrun.convert.projectors.convert import convert_projector
from localrun.errors import IntegrityError, UsageError
from localrun.gguf.header import read_header
from tests.convert.adapted import adapter_tensors, write_adapter
from tests.convert.loading import embedding, loaded
from tests.convert.logits import logits
from tests.convert.oracle.adapters import RANK, SCALE, random_pairs, write_pairs
from tests.convert.oracle.checkpoints import PROMPT, weights, write_checkpoint
from tests.convert.oracle.families import SEEING
from tests.convert.oracle.generate import described, published
from tests.convert.writing import write_tensors

if TYPE_CHECKING:
    from tests.convert.writing import Array

FOLDER = Path(__file__).parent / "golden"
GOLDEN = sorted(FOLDER.glob("*.json"))
ADAPTERS = json.loads((FOLDER.parent / "adapters.json").read_text())
STATED = (".vocab_size", ".rope.dimension_count", ".attention.key_length",
          ".attention.value_length", ".rope.freq_base",
          "deepseek2.expert_gating_func", ".pooling_type", ".token_type_count",
          "gemma4.final_logit_softcapping")  # fmt: skip
# 0, llama.cpp's default; and sizes of layers that a Granite 4 without them does not have
LEFT_OUT = (".nextn_predict_layers",
            "classifier.pooling_type",  # of a head that is left out
            "modern-bert.attention.layer_norm_rms_epsilon",  # not read
            *(f"granite.ssm.{key}" for key in ("conv_kernel", "group_count", "inner_size",
                                               "state_size", "time_step_rank")))  # fmt: skip
COMPUTED = (".ssm_a",)  # numpy's and torch's exponential functions differ in the last bit
LARGEST_DIFFERENCE = 1e-3  # of the largest logit; llama.cpp's tables of SiLU and GELU are F16
PACKED_DIFFERENCE = 6e-2  # llama.cpp multiplies four-bit blocks by activations in Q8_0


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def known(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what is known of a family's checkpoint."""
    content: dict[str, Any] = json.loads(request.param.read_text())
    return content


@pytest.fixture
def checkpoint(known: dict[str, Any], tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", known["config"], weights(known["shapes"]))


def test_keys_and_tensors_are_those_of_llama_cpps_converter(
    known: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    convert_folder(checkpoint, tmp_path / "made.gguf")

    keys, tensors = described(tmp_path / "made.gguf")

    for name in tensors:
        if name.endswith(COMPUTED):
            tensors[name][2] = known["tensors"][name][2]
    assert tensors == known["tensors"]
    wrong = {
        name: (keys.get(name), value)
        for name, value in known["keys"].items()
        if not _is_same(keys.get(name), value) and not name.endswith(LEFT_OUT)
        if value != 0 or not name.endswith(("expert_count", "expert_used_count"))
    }
    assert wrong == {}
    # said here, left to llama.cpp's default there
    assert [name for name in keys.keys() - known["keys"] if not name.endswith(STATED)] == []


@pytest.mark.parametrize("name", SEEING)
def test_projectors_are_those_of_llama_cpps_converter(name: str, tmp_path: Path) -> None:
    known = json.loads((FOLDER / f"{name}.json").read_text())
    checkpoint = write_checkpoint(tmp_path / "model", known["config"], weights(known["shapes"]))

    convert_projector(checkpoint, tmp_path / "projector.gguf")

    keys, tensors = described(tmp_path / "projector.gguf")
    tensors.pop("v.token_embd.img_break", None)  # which that converter searches in vain
    assert tensors == known["projector"][1]
    wrong = {
        name: (keys.get(name), value)
        for name, value in known["projector"][0].items()
        if not _is_same(keys.get(name), value)
    }
    assert wrong == {}
    assert keys.keys() == known["projector"][0].keys()


def test_pixtral_has_the_embedding_of_the_token_that_ends_a_row_of_a_picture(
    tmp_path: Path,
) -> None:
    known = json.loads((FOLDER / "pixtral.json").read_text())
    plain = weights(known["shapes"])
    folder = write_checkpoint(tmp_path / "model", known["config"], plain)

    convert_projector(folder, tmp_path / "projector.gguf")

    (embeddings,) = (values for name, values in plain.items() if "embed_tokens" in name)
    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "projector.gguf").tensors}
    assert np.array_equal(tensors["v.token_embd.img_break"].data, embeddings[-1])


def test_a_projector_with_newer_names_gives_the_same_tensors(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "gemma3vl.json").read_text())
    newer = {
        name.replace("vision_tower.vision_model.", "vision_tower."): values
        for name, values in weights(known["shapes"]).items()
    }
    folder = write_checkpoint(tmp_path / "model", known["config"], newer)

    convert_projector(folder, tmp_path / "projector.gguf")

    assert described(tmp_path / "projector.gguf")[1] == known["projector"][1]


def test_logits_are_those_of_transformers(
    known: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    convert_folder(checkpoint, tmp_path / "made.gguf", file_type="F32")

    if "logits" not in known:
        with loaded(tmp_path / "made.gguf") as model:
            found = embedding(model, PROMPT)
        # without a class in transformers, it is enough that llama.cpp computes with it
        expected = np.array(known["embedding"]) if "embedding" in known else found
        assert np.isfinite(found).all()
    else:
        found, expected = logits(tmp_path / "made.gguf", None, PROMPT), np.array(known["logits"])

    allowed = PACKED_DIFFERENCE if "quantization_config" in known["config"] else LARGEST_DIFFERENCE
    assert np.abs(found[: len(expected)] - expected).max() <= allowed * _size(expected)


def test_an_adapter_computes_what_merged_weights_compute(
    known: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    plain = weights(known["shapes"])
    if "logits" not in known:
        pytest.skip("adapters of embedding models have no logits to compare")
    if any(name.endswith(("_scale_inv", "_scale_2")) for name in plain):
        pytest.skip("what is quantized cannot be merged with an adapter")
    pairs = random_pairs(plain, known["config"]["model_type"])
    merged = {
        name: (values + SCALE * pairs[module][1] @ pairs[module][0]).astype(np.float32)
        if (module := name.removesuffix(".weight")) in pairs
        else values
        for name, values in plain.items()
    }
    assert pairs
    base, adapter = tmp_path / "base.gguf", tmp_path / "adapter.gguf"
    convert_folder(checkpoint, base, file_type="F32")
    folder = write_pairs(tmp_path / "peft", pairs)

    convert_adapter(folder, read_header(base), adapter)

    write_checkpoint(tmp_path / "merged", known["config"], merged, exact=True)
    convert_folder(tmp_path / "merged", tmp_path / "merged.gguf", file_type="F32")
    expected = logits(tmp_path / "merged.gguf", None, PROMPT)
    alone, found = (logits(base, path, PROMPT) for path in (None, adapter))
    assert np.abs(found - expected).max() < 0.05 * np.abs(alone - expected).max()


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_are_those_of_llama_cpps_converter(name: str, tmp_path: Path) -> None:
    known = json.loads((FOLDER / f"{name}.json").read_text())
    plain = weights(known["shapes"])
    checkpoint = write_checkpoint(tmp_path / "model", known["config"], plain)
    pairs = random_pairs(plain, known["config"]["model_type"])
    convert_folder(checkpoint, tmp_path / "base.gguf")

    convert_adapter(
        write_pairs(tmp_path / "peft", pairs),
        read_header(tmp_path / "base.gguf"),
        tmp_path / "adapter.gguf",
    )

    assert described(tmp_path / "adapter.gguf")[1] == ADAPTERS[name]


def test_an_adapter_that_llama_cpp_would_ignore_is_refused(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "deepseek3.json").read_text())
    plain = weights(known["shapes"])
    checkpoint = write_checkpoint(tmp_path / "model", known["config"], plain)
    base, module = tmp_path / "base.gguf", "model.layers.0.self_attn.q_b_proj"
    convert_folder(checkpoint, base)
    rows, columns = plain[f"{module}.weight"].shape
    pair = (np.ones((RANK, columns), np.float32), np.ones((rows, RANK), np.float32))
    adapter = write_adapter(
        tmp_path / "peft", adapter_tensors({module: pair}), r=RANK, lora_alpha=8
    )

    with pytest.raises(UsageError, match="cannot be adapted"):
        convert_adapter(adapter, read_header(base), tmp_path / "adapter.gguf")


def test_latent_attention_rotates_what_its_configuration_says(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "deepseek3.json").read_text())
    config = {name: value for name, value in known["config"].items() if name != "head_dim"}
    folder = write_checkpoint(tmp_path / "model", config, weights(known["shapes"]))

    convert_folder(folder, tmp_path / "made.gguf")

    keys, _ = described(tmp_path / "made.gguf")
    assert keys["deepseek2.rope.dimension_count"] == known["config"]["qk_rope_head_dim"]


def test_experts_that_are_stored_transposed_give_the_same_tensors(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "qwen3vlmoe.json").read_text())
    transposed = published(weights(known["shapes"]))
    folder = write_checkpoint(tmp_path / "model", known["config"], transposed)

    convert_folder(folder, tmp_path / "made.gguf")

    assert described(tmp_path / "made.gguf")[1] == known["tensors"]


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("gemma3n", "Gemma3nForConditionalGeneration"), ("gemma4", "Gemma4ForConditionalGeneration")],
)
def test_the_text_of_a_model_that_sees_and_hears_gives_the_same_tensors(
    name: str, architecture: str, tmp_path: Path
) -> None:
    known = json.loads((FOLDER / f"{name}.json").read_text())
    plain = {
        f"model.language_model.{tensor.removeprefix('model.')}": values
        for tensor, values in weights(known["shapes"]).items()
    }
    for part in ("vision_tower.x", "embed_vision.y", "audio_tower.z", "embed_audio.w"):
        plain[f"model.{part}.weight"] = np.ones((4, 4), np.float32)
    config = {"architectures": [architecture], "text_config": known["config"], "vision_config": {}}
    folder = write_checkpoint(tmp_path / "model", config, plain)

    convert_folder(folder, tmp_path / "made.gguf")

    assert described(tmp_path / "made.gguf")[1] == known["tensors"]


def test_a_missing_expert_is_an_error(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "mixtral.json").read_text())
    plain = weights(known["shapes"])
    del plain["model.layers.0.block_sparse_moe.experts.1.w1.weight"]
    folder = write_checkpoint(tmp_path / "model", known["config"], plain)

    with pytest.raises(IntegrityError, match="lacks an expert"):
        convert_folder(folder, tmp_path / "made.gguf")


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("granite4", {"position_embedding_type": "nope"}, "position_embedding_type is not rope"),
        ("granite4hybrid", {"position_embedding_type": "rope"}, "position_embedding_type is not"),
        ("granite4hybrid", {"layer_types": ["mamba"]}, "for every layer"),
        ("nemotronhmoe", {"hybrid_override_pattern": "ME*-"}, "for every layer"),
        ("falconh1", {"mamba_d_ssm": 65}, "a multiple of mamba_d_head"),
        ("falconh1", {"mlp_multipliers": [1.0]}, "a list of 2 numbers"),
        ("cohere2", {"layer_types": ["full_attention"] * 4}, "every fourth one"),
        ("gemma3n", {"laurel_rank": 32}, "64, which llama.cpp assumes"),
        ("gemma3n", {"num_kv_shared_layers": 2}, "all but the first 20 layers"),
        ("gemma3n", {"activation_sparsity_pattern": 0.5}, "0.95 in the first 10 layers"),
        ("gemma3n", {"activation_sparsity_pattern": [0.95]}, "4 numbers"),
        ("gemma3", {"use_bidirectional_attention": True}, "both directions"),
        ("gemma4", {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "proportional"),
        ("nomicbert", {"n_positions": 4096}, "8192 or 2048"),
        ("nomicbert", {"prenorm": True}, "False, which llama.cpp assumes"),
        ("nomicbert", {"qkv_proj_bias": True}, "False, which llama.cpp assumes"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(
    name: str, changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    known = json.loads((FOLDER / f"{name}.json").read_text())
    config = {**known["config"], **changes}
    folder = write_checkpoint(tmp_path / "model", config, weights(known["shapes"]))

    with pytest.raises((UsageError, IntegrityError), match=re.escape(told)):
        convert_folder(folder, tmp_path / "made.gguf")


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("qwen25vl", {"fullatt_block_indexes": [0, 2]}, "every n-th layer"),
        ("qwen3vl", {"deepstack_visual_indexes": [9]}, "layers of the encoder"),
        ("pixtral", {"hidden_act": "relu"}, "silu or gelu"),
        ("pixtral", {"model_type": "clip_vision_model"}, "cannot be converted"),
    ],
)
def test_an_encoder_that_llama_cpp_does_not_compute_is_refused(
    name: str, changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    known = json.loads((FOLDER / f"{name}.json").read_text())
    vision = {**known["config"]["vision_config"], **changes}
    config = {**known["config"], "vision_config": vision}
    folder = write_checkpoint(tmp_path / "model", config, weights(known["shapes"]))

    with pytest.raises((UsageError, IntegrityError), match=re.escape(told)):
        convert_projector(folder, tmp_path / "projector.gguf")


def test_a_model_that_was_saved_without_its_encoder_has_no_projector(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "gemma3vl.json").read_text())
    plain = {n: v for n, v in weights(known["shapes"]).items() if "language_model" in n}
    folder = write_checkpoint(tmp_path / "model", known["config"], plain)

    with pytest.raises(UsageError, match="no tensors of a projector"):
        convert_projector(folder, tmp_path / "projector.gguf")


def test_zero_biases_of_cohere_are_left_out_and_others_refused(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "cohere2.json").read_text())
    plain = weights(known["shapes"])
    name = "model.layers.0.self_attn.q_proj.bias"
    folder = write_checkpoint(
        tmp_path / "zero", known["config"], {**plain, name: np.zeros(64, np.float32)}
    )

    convert_folder(folder, tmp_path / "made.gguf")

    assert described(tmp_path / "made.gguf")[1] == known["tensors"]
    folder = write_checkpoint(
        tmp_path / "one", known["config"], {**plain, name: np.ones(64, np.float32)}
    )
    with pytest.raises(UsageError, match="is not zero"):
        convert_folder(folder, tmp_path / "made.gguf")


def test_an_adapter_of_weights_with_a_multiplier_is_refused(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "falconh1.json").read_text())
    plain = weights(known["shapes"])
    checkpoint = write_checkpoint(tmp_path / "model", known["config"], plain)
    base, module = tmp_path / "base.gguf", "model.layers.0.feed_forward.gate_proj"
    convert_folder(checkpoint, base)
    rows, columns = plain[f"{module}.weight"].shape
    pair = (np.ones((RANK, columns), np.float32), np.ones((rows, RANK), np.float32))
    adapter = write_adapter(
        tmp_path / "peft", adapter_tensors({module: pair}), r=RANK, lora_alpha=8
    )

    with pytest.raises(UsageError, match="cannot be adapted"):  # a multiplier is in its weights
        convert_adapter(adapter, read_header(base), tmp_path / "adapter.gguf")


def test_the_dense_layers_of_an_embedding_model_are_applied(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "gemmaembedding.json").read_text())
    folder = write_checkpoint(tmp_path / "model", known["config"], weights(known["shapes"]))
    rng = np.random.default_rng(1)
    first = rng.normal(size=(96, 64)).astype(np.float32) / 8
    second = rng.normal(size=(64, 96)).astype(np.float32) / 8
    for name, matrix in (("2_Dense", first), ("3_Dense", second)):
        write_dense(folder / name, matrix)

    convert_folder(folder, tmp_path / "made.gguf", file_type="F32")

    with loaded(tmp_path / "made.gguf") as model:
        found = embedding(model, PROMPT)
    expected = second @ (first @ np.array(known["embedding"]))
    assert np.abs(found - expected / np.linalg.norm(expected)).max() < LARGEST_DIFFERENCE


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"activation_function": "torch.nn.modules.activation.Tanh"}, UsageError),
        ({"in_features": 32}, IntegrityError),
    ],
)
def test_other_dense_layers_are_refused(
    changes: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    known = json.loads((FOLDER / "gemmaembedding.json").read_text())
    folder = write_checkpoint(tmp_path / "model", known["config"], weights(known["shapes"]))
    write_dense(folder / "2_Dense", np.ones((96, 64), np.float32), **changes)

    with pytest.raises(error):
        convert_folder(folder, tmp_path / "made.gguf")


def write_dense(folder: Path, matrix: Array, **changes: object) -> None:
    """Write a layer as sentence-transformers does."""
    folder.mkdir()
    settings = {"in_features": matrix.shape[1], "out_features": matrix.shape[0], "bias": False}
    (folder / "config.json").write_text(json.dumps({**settings, **changes}))
    write_tensors(folder / "model.safetensors", {"linear.weight": matrix})


def test_every_decoder_has_a_checkpoint() -> None:
    checked = {
        name for path in GOLDEN for name in json.loads(path.read_text())["config"]["architectures"]
    }
    reference = {"MistralForCausalLM", "Qwen2ForCausalLM", "Phi3ForCausalLM"}  # tests/convert
    same = {"Qwen2Model", "Qwen3Model", "Ernie4_5_ForCausalLM", "Gemma3ForConditionalGeneration",
            "Qwen2VLForConditionalGeneration", "Llama4ForConditionalGeneration",
            "Gemma3nForConditionalGeneration", "Gemma4ForConditionalGeneration",
            "Idefics3ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration"}  # fmt: skip
    decoders = {name for name, family in FAMILIES.items() if family.kind == "decoder"}

    assert decoders - checked - reference - same == set()


def _size(values: Array) -> float:
    return float(np.abs(values).max())


def _is_same(found: object, expected: object) -> bool:
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_is_same, found, expected))
    if isinstance(found, float) and isinstance(expected, float):
        return found == pytest.approx(expected)
    return found == expected
