from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest

from localrun.convert.model import convert_folder
from localrun.errors import IntegrityError, LocalrunError, NotFoundError, StorageError, UsageError
from localrun.gguf.header import read_header
from tests.convert.loading import embedding, loaded, logits
from tests.convert.reference import Decoder, encoded
from tests.convert.tiny import GEMMA, LLAMA3_ROPE, SWA, Tiny, decoder, encoder
from tests.convert.writing import bfloat16, write_tensors
from tests.fakes.full_disk import size_limit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localrun.convert.tensors import FileType

TOKENS = [5, 9, 200, 3, 77, 120, 4, 256, 33, 250, 1, 90]  # longer than the sliding windows
PHI3_FACTORS = [1.0, 1.1, 1.3, 1.6, 2.0, 2.5, 3.1, 4.0]
MODELS = {
    "llama": lambda: decoder("llama", "LlamaForCausalLM"),
    "llama 3": lambda: decoder(
        "llama", "LlamaForCausalLM", rope_scaling=LLAMA3_ROPE, attention_bias=True
    ),
    "mistral": lambda: decoder("mistral", "MistralForCausalLM", head_dim=32),
    "qwen2": lambda: decoder("qwen2", "Qwen2ForCausalLM", tie_word_embeddings=True),
    "qwen3": lambda: decoder("qwen3", "Qwen3ForCausalLM", head_dim=32),
    "qwen3 linear": lambda: decoder(
        "qwen3", "Qwen3ForCausalLM", head_dim=32, rope_scaling={"rope_type": "linear", "factor": 4}
    ),
    "gemma2": lambda: decoder(
        "gemma2",
        "Gemma2ForCausalLM",
        attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0,
        layer_types=SWA,
        **GEMMA,
    ),
    "gemma3": lambda: decoder(
        "gemma3_text",
        "Gemma3ForCausalLM",
        rope_theta=1_000_000.0,
        rope_local_base_freq=10_000.0,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
        layer_types=SWA,
        **GEMMA,
    ),
    "phi3": lambda: decoder("phi3", "Phi3ForCausalLM"),
    "phi3 long": lambda: decoder(
        "phi3",
        "Phi3ForCausalLM",
        max_position_embeddings=4096,
        original_max_position_embeddings=1024,
        rope_scaling={
            "rope_type": "longrope",
            "short_factor": PHI3_FACTORS,
            "long_factor": PHI3_FACTORS[::-1],
        },
    ),
    "phi3 partial": lambda: decoder("phi3", "Phi3ForCausalLM", partial_rotary_factor=0.5),
}


def converted_logits(folder: Path, file_type: FileType | None = None) -> np.ndarray:
    path = folder.parent / "model.gguf"
    convert_folder(folder, path, file_type=file_type)
    with loaded(path) as model:
        return logits(model, TOKENS)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, in standard deviations of what is expected."""
    return float(np.abs(found - expected).max() / expected.std())


@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_computes_what_its_tensors_say(tmp_path: Path, name: str) -> None:
    tiny = MODELS[name]()
    expected = Decoder(tiny.tensors, tiny.settings).logits(TOKENS)

    found = converted_logits(tiny.write(tmp_path / "model"))

    assert distance(found, expected) < (0.01 if "gemma" in name else 0.001)


@pytest.mark.parametrize("file_type", ["F16", "BF16"])
def test_smaller_types_compute_nearly_the_same(tmp_path: Path, file_type: FileType) -> None:
    tiny = MODELS["llama"]()
    expected = Decoder(tiny.tensors, tiny.settings).logits(TOKENS)

    found = converted_logits(tiny.write(tmp_path / "model"), file_type)

    assert distance(found, expected) < 0.1


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [("BertModel", {}), ("RobertaModel", {"first_position": 2, "type_vocab_size": 1})],
)
def test_an_encoder_computes_what_its_tensors_say(
    tmp_path: Path, architecture: str, changes: dict[str, Any]
) -> None:
    tiny = encoder(architecture, **changes)
    expected = encoded(tiny.tensors, tiny.settings, TOKENS)
    path = tmp_path / "model.gguf"

    convert_folder(tiny.write(tmp_path / "model"), path)

    with loaded(path) as model:
        assert float(embedding(model, TOKENS) @ expected) > 0.9999


def renamed(tiny: Tiny, change: Callable[[str], str]) -> Tiny:
    return Tiny(tiny.settings, {change(name): array for name, array in tiny.tensors.items()})


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace("model.", "language_model.model.", 1),
        lambda name: name.replace("model.", "model.language_model.", 1),
    ],
)
def test_the_language_model_of_one_that_sees_is_taken(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    plain = MODELS["gemma3"]()
    expected = converted_logits(plain.write(tmp_path / "plain"))
    inner = {key: value for key, value in plain.settings.items() if key != "architectures"}
    outer = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": inner}
    seeing = Tiny(outer, renamed(plain, change).tensors)
    seeing.tensors["vision_tower.patch.weight"] = np.ones((2, 2), np.float32)
    seeing.tensors["multi_modal_projector.weight"] = np.ones((2, 2), np.float32)

    found = converted_logits(seeing.write(tmp_path / "seeing"))

    assert np.array_equal(found, expected)


def test_names_without_the_outer_class_are_known(tmp_path: Path) -> None:
    plain = MODELS["qwen2"]()
    expected = converted_logits(plain.write(tmp_path / "plain"))
    bare = renamed(plain, lambda name: name.removeprefix("model."))
    bare.settings["architectures"] = ["Qwen2Model"]

    assert np.array_equal(converted_logits(bare.write(tmp_path / "bare")), expected)


def test_newer_settings_of_rope_mean_the_same(tmp_path: Path) -> None:
    old = MODELS["gemma3"]()
    expected = converted_logits(old.write(tmp_path / "old"))
    settings = {key: value for key, value in old.settings.items() if not key.startswith("rope")}
    settings["rope_parameters"] = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    }

    found = converted_logits(Tiny(settings, old.tensors).write(tmp_path / "new"))

    assert np.array_equal(found, expected)


def stored_as_bfloat16(tiny: Tiny) -> Tiny:
    return Tiny(tiny.settings, {name: bfloat16(array) for name, array in tiny.tensors.items()})


def test_the_type_of_the_weights_is_kept_bit_for_bit(tmp_path: Path) -> None:
    tiny = stored_as_bfloat16(MODELS["qwen3"]())

    done = convert_folder(tiny.write(tmp_path / "model"), tmp_path / "model.gguf")

    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    down = tensors["blk.1.ffn_down.weight"]
    source = tiny.tensors["model.layers.1.mlp.down_proj.weight"]
    assert done.file_type == "BF16"
    assert down.tensor_type is gguf.GGMLQuantizationType.BF16
    assert down.data.tobytes() == source.tobytes()
    assert tensors["output_norm.weight"].tensor_type is gguf.GGMLQuantizationType.F32


def test_the_result_says_what_was_written(tmp_path: Path) -> None:
    tiny = MODELS["qwen3"]()
    path = tmp_path / "model.gguf"

    done = convert_folder(tiny.write(tmp_path / "tiny-qwen"), path, file_type="F16")

    header = read_header(path)
    assert (done.path, done.architecture, done.file_type) == (path, "qwen3", "F16")
    assert done.num_params == header.num_params == sum(t.size for t in tiny.tensors.values())
    assert done.num_tensors == header.num_tensors == len(tiny.tensors)
    assert header.file_type == "F16"
    assert header.context_length == 128
    assert header.text("general.name") == "tiny-qwen"


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = MODELS["llama 3"]().write(tmp_path / "model")

    convert_folder(folder, tmp_path / "1.gguf")
    convert_folder(folder, tmp_path / "2.gguf")

    assert (tmp_path / "1.gguf").read_bytes() == (tmp_path / "2.gguf").read_bytes()


def test_progress_goes_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    convert_folder(
        MODELS["llama"]().write(tmp_path / "model"),
        tmp_path / "model.gguf",
        on_progress=lambda done, total: seen.append((done, total)),
    )

    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


def refused(tiny: Tiny, folder: Path) -> LocalrunError:
    """Return the error of converting, after checking that nothing is left."""
    tiny.write(folder / "model")
    with pytest.raises(LocalrunError) as caught:
        convert_folder(folder / "model", folder / "model.gguf")
    assert [path.name for path in folder.iterdir()] == ["model"]
    return caught.value


def test_another_architecture_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    error = refused(decoder("mamba", "MambaForCausalLM"), tmp_path)

    assert isinstance(error, UsageError)
    for name in ("MambaForCausalLM", "LlamaForCausalLM", "Phi3ForCausalLM", "BertModel"):
        assert name in error.message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_size": "64"}, "hidden_size = '64', which must be a whole number above 0"),
        ({"hidden_size": None}, "has no hidden_size, which must be"),
        ({"num_hidden_layers": 10**9}, "which must be at most 512"),
        ({"num_hidden_layers": True}, "which must be a whole number"),
        ({"rms_norm_eps": []}, "which must be a number"),
        ({"rope_scaling": {"rope_type": "magic"}}, "has the type 'magic'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2, "mscale": 1}}, "has mscale"),
        ({"rope_scaling": {"rope_type": "linear", "factor": -1}}, "factor = -1"),
        ({"rope_scaling": {**LLAMA3_ROPE, "low_freq_factor": 9}}, "below high_freq_factor"),
        ({"hidden_act": "relu2"}, "the activation 'relu2' cannot be converted"),
        ({"num_key_value_heads": 3}, "32 rows for 3 heads"),
        ({"rope_theta": 0}, "out of range"),
    ],
)
def test_a_wrong_or_unknown_setting_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    tiny = MODELS["llama"]()
    tiny.settings.update(changes)

    assert reason in refused(tiny, tmp_path).message


def test_another_scale_of_attention_is_refused(tmp_path: Path) -> None:
    tiny = MODELS["gemma2"]()
    tiny.settings["query_pre_attn_scalar"] = 100

    assert "query_pre_attn_scalar is not 32" in refused(tiny, tmp_path).message


def test_a_layer_without_a_tensor_is_refused(tmp_path: Path) -> None:
    tiny = MODELS["llama"]()
    del tiny.tensors["model.layers.1.mlp.up_proj.weight"]

    error = refused(tiny, tmp_path)

    assert isinstance(error, IntegrityError)
    assert "layer 1 of the model has no ffn_up.weight" in error.message


def test_a_foreign_tensor_is_refused(tmp_path: Path) -> None:
    tiny = MODELS["llama"]()
    tiny.tensors["model.layers.0.mlp.gate_proj.other"] = np.ones(1, np.float32)

    assert "gate_proj.other is not one of llama's" in refused(tiny, tmp_path).message


def test_values_too_large_for_f16_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    tiny = MODELS["llama"]()
    tiny.tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = 1e6
    folder = tiny.write(tmp_path / "model")

    with pytest.raises(UsageError, match=r"blk\.1\.ffn_up\.weight has values .* F16") as caught:
        convert_folder(folder, tmp_path / "model.gguf", file_type="F16")

    assert caught.value.hint == "convert to BF16 or F32"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    folder = MODELS["llama"]().write(tmp_path / "model")

    with pytest.raises(StorageError, match="No such file"):
        convert_folder(folder, tmp_path / "none" / "model.gguf")


def test_a_disk_that_is_full_at_any_byte_leaves_nothing(tmp_path: Path) -> None:
    folder, made = MODELS["llama"]().write(tmp_path / "model"), tmp_path / "out" / "model.gguf"
    made.parent.mkdir()
    convert_folder(folder, made)
    whole = made.read_bytes()
    made.unlink()

    for limit in (0, 1, 100, 8191, 8192, 8193, len(whole) // 2, len(whole) - 1):
        with size_limit(limit), pytest.raises(StorageError, match="too large"):
            convert_folder(folder, made)
        assert list(made.parent.iterdir()) == []

    convert_folder(folder, made)
    assert made.read_bytes() == whole


def test_pickles_are_refused(tmp_path: Path) -> None:
    folder = MODELS["llama"]().write(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(UsageError, match="can run code"):
        convert_folder(folder, tmp_path / "model.gguf")


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    folder = MODELS["llama"]().write(tmp_path / "model")
    (folder / "tokenizer.json").unlink()

    with pytest.raises(NotFoundError, match=r"no tokenizer\.json, tokenizer\.model or vocab\.txt"):
        convert_folder(folder, tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("pooling", "number"),
    [(None, 1), ({"pooling_mode_cls_token": True}, 2), ({"pooling_mode_mean_tokens": True}, 1)],
)
def test_the_pooling_of_an_encoder_is_kept(
    tmp_path: Path, pooling: dict[str, bool] | None, number: int
) -> None:
    folder = encoder("BertModel").write(tmp_path / "model")
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))

    convert_folder(folder, tmp_path / "model.gguf")

    assert read_header(tmp_path / "model.gguf").metadata["bert.pooling_type"] == number


def test_another_pooling_is_refused(tmp_path: Path) -> None:
    folder = encoder("BertModel").write(tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')

    with pytest.raises(UsageError, match="this pooling cannot be converted"):
        convert_folder(folder, tmp_path / "model.gguf")


def test_shards_are_converted_as_one(tmp_path: Path) -> None:
    tiny = MODELS["qwen2"]()
    expected = converted_logits(tiny.write(tmp_path / "whole"))
    folder = tiny.write(tmp_path / "sharded")
    (folder / "model.safetensors").unlink()
    names = sorted(tiny.tensors)
    places = {name: f"model-{1 + (index % 2)}.safetensors" for index, name in enumerate(names)}
    for place in set(places.values()):
        own = {name: tiny.tensors[name] for name in names if places[name] == place}
        write_tensors(folder / place, own)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    assert np.array_equal(converted_logits(folder), expected)
