"""LoRA adapters: what a converted one computes, and which are refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from localrun.convert.lora import convert_adapter
from localrun.convert.model import convert_folder
from localrun.errors import IntegrityError, LocalrunError, NotFoundError, UsageError
from localrun.gguf.adapter import check_adapter
from localrun.gguf.header import Header, read_header
from localrun.store.store import embedded_models
from tests.convert import adapted
from tests.convert.logits import logits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Array = np.ndarray[Any, np.dtype[Any]]
GUIDE = embedded_models()["guide:latest"]
ADAPTERS = Path(__file__).parents[2] / "modelfiles" / "adapters"
TOKENS = [5, 80, 900, 33, 7]
Q0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_"


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    model = adapted.write_model(folder / "tiny", adapted.random_weights())
    return convert_folder(model, folder / "tiny.gguf", file_type="F32").path


@pytest.fixture(scope="module")
def base(base_path: Path) -> Header:
    return read_header(base_path)


def merged(
    folder: Path, pairs: Mapping[str, tuple[Array, Array]], scale: Callable[[str], float]
) -> Path:
    """Return the model with the pairs added to its weights."""
    weights = adapted.random_weights()
    for name, (a, b) in pairs.items():
        weights[name] += np.float32(scale(name)) * (b @ a)
    return convert_folder(
        adapted.write_model(folder / "merged", weights), folder / "merged.gguf", file_type="F32"
    ).path


@pytest.mark.parametrize("is_file", [False, True])
def test_both_forms_of_pirate_give_the_same_logits(tmp_path: Path, *, is_file: bool) -> None:
    source = ADAPTERS / "pirate"
    if is_file:
        source = source / "adapter_model.safetensors"
    made = convert_adapter(source, read_header(GUIDE), tmp_path / "made.gguf")

    ours = logits(GUIDE, made.path, TOKENS)
    assert np.abs(ours - logits(GUIDE, ADAPTERS / "pirate.gguf", TOKENS)).max() < 1e-6
    assert np.abs(ours - logits(GUIDE, None, TOKENS)).max() > 0.5
    assert (made.rank, made.alpha, made.num_pairs) == (4, 8.0, 36)
    check_adapter(read_header(made.path), read_header(GUIDE))


def test_the_same_adapter_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        convert_adapter(ADAPTERS / "pirate", read_header(GUIDE), tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("config", "ranks", "scale"),
    [
        ({"r": 4, "lora_alpha": 8}, {}, lambda _: 2),
        ({"r": 4, "lora_alpha": 8, "use_rslora": True}, {}, lambda _: 4),
        (
            {"r": 4, "lora_alpha": 8, "alpha_pattern": {"q_proj": 2}},
            {},
            lambda name: 0.5 if name.endswith("q_proj") else 2,
        ),
        (
            {"r": 4, "lora_alpha": 8, "rank_pattern": {"model.layers.1.mlp.up_proj": 2}},
            {"model.layers.1.mlp.up_proj": 2},
            lambda name: 4 if name == "model.layers.1.mlp.up_proj" else 2,
        ),
    ],
    ids=["plain", "rslora", "alphas", "ranks"],
)
def test_an_adapter_of_every_matrix_equals_the_merged_model(
    tmp_path: Path,
    base_path: Path,
    config: dict[str, object],
    ranks: dict[str, int],
    scale: Callable[[str], float],
) -> None:
    pairs = adapted.random_pairs({name: ranks.get(name, 4) for name in adapted.SHAPES})
    source = adapted.write_adapter(tmp_path / "adapter", adapted.adapter_tensors(pairs), **config)
    made = convert_adapter(source, read_header(base_path), tmp_path / "adapter.gguf")
    check_adapter(read_header(made.path), read_header(base_path))

    ours = logits(base_path, made.path, TOKENS)
    theirs = logits(merged(tmp_path, pairs, scale), None, TOKENS)

    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
    assert np.abs(ours - logits(base_path, None, TOKENS)).max() > 0.1 * np.abs(theirs).max()


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_half_precision_is_kept(tmp_path: Path, base: Header, kind: str) -> None:
    pairs = adapted.random_pairs({"model.layers.0.self_attn.q_proj": 4})
    tensors = {
        name: array.astype(np.float16)
        if kind == "F16"
        else (np.ascontiguousarray(array).view(np.uint32) >> 16).astype(np.uint16)
        for name, array in adapted.adapter_tensors(pairs).items()
    }
    source = adapted.write_adapter(tmp_path / "adapter", tensors, r=4, lora_alpha=8)

    made = read_header(convert_adapter(source, base, tmp_path / "made.gguf").path)

    assert {tensor.kind for tensor in made.tensors.values()} == {{"F16": 1, "BF16": 30}[kind]}


def test_names_with_the_adapters_own_name_are_understood(tmp_path: Path, base: Header) -> None:
    pairs = adapted.random_pairs({"model.layers.0.self_attn.q_proj": 4})
    tensors = {
        name.replace(".weight", ".default.weight"): array
        for name, array in adapted.adapter_tensors(pairs).items()
    }
    source = adapted.write_adapter(tmp_path / "adapter", tensors, r=4, lora_alpha=8)

    made = convert_adapter(source, base, tmp_path / "made.gguf")

    assert sorted(read_header(made.path).tensors) == [
        "blk.0.attn_q.weight.lora_a",
        "blk.0.attn_q.weight.lora_b",
    ]


def refusal(folder: Path, base: Header, tensors: Mapping[str, Array], **config: object) -> str:
    source = adapted.write_adapter(folder / "adapter", tensors, **config)
    with pytest.raises(LocalrunError) as caught:
        convert_adapter(source, base, folder / "made.gguf")
    assert list(folder.iterdir()) == [source]
    return caught.value.message


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({f"{Q0}A.weight": zeros(4, 64)}, "q_proj has lora_A without its lora_B"),
        ({f"{Q0}B.weight": zeros(64, 4)}, "q_proj has lora_B without its lora_A"),
        ({f"{Q0}A.weight": zeros(2, 64), f"{Q0}B.weight": zeros(64, 2)}, "json says 4"),
        ({f"{Q0}A.weight": zeros(4, 64), f"{Q0}B.weight": zeros(64, 3)}, "lora_B of rank 3"),
        ({f"{Q0}A.weight": zeros(4, 32), f"{Q0}B.weight": zeros(64, 4)}, "is for 32 x 64, the mod"),
        ({f"{Q0}A.weight": zeros(4, 64), f"{Q0}B.weight": zeros(66, 4)}, "66 rows, the model 4 he"),
        ({f"{Q0}A.weight": zeros(4, 64), f"{Q0}B.weight": zeros(72, 4)}, "is for 64 x 72, the mod"),
        ({f"{Q0}A.weight": zeros(4, 1, 1), f"{Q0}B.weight": zeros(64, 4)}, "by 3 dimensions"),
        ({f"{Q0}magnitude_vector": zeros(64)}, "also has the tensor .*magnitude_vector"),
        ({"base_model.model.lm_head.weight": zeros(8, 8)}, "also has the tensor .*lm_head.weight"),
        ({}, "has no tensors"),
    ],
)
def test_a_broken_pair_is_refused(
    tmp_path: Path, base: Header, tensors: dict[str, Array], reason: str
) -> None:
    assert re.search(reason, refusal(tmp_path, base, tensors, r=4, lora_alpha=8))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("model.layers.0.self_attn.q_norm", "q_norm, which this model's architecture does not"),
        ("model.layers.7.self_attn.q_proj", "q_proj, which this model's architecture does not"),
        ("model.layers.0.attn.c_proj", "which this model's architecture does not have"),
    ],
)
def test_a_module_that_the_base_does_not_have_is_refused(
    tmp_path: Path, base: Header, module: str, reason: str
) -> None:
    start = f"base_model.model.{module}.lora_"
    tensors = {f"{start}A.weight": zeros(4, 64), f"{start}B.weight": zeros(64, 4)}

    assert reason in refusal(tmp_path, base, tensors, r=4, lora_alpha=8)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_type": "IA3"}, "type IA3 cannot be used"),
        ({"use_dora": True}, "also has DoRA"),
        ({"bias": "all"}, "also has biases"),
        ({"fan_in_fan_out": True}, "transposed layers"),
        ({"lora_alpha": 0}, "lora_alpha = 0"),
        ({"r": 0}, "r = 0"),
        ({"r": None}, "r = None"),
        ({"r": 8}, "json says 8"),
        ({"alpha_pattern": {"(a+)+$": 2}}, "is a pattern"),
        ({"rank_pattern": {"q_proj": 9}}, "json says 9"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(
    tmp_path: Path, base: Header, config: dict[str, object], reason: str
) -> None:
    tensors = {f"{Q0}A.weight": zeros(4, 64), f"{Q0}B.weight": zeros(64, 4)}

    assert reason in refusal(tmp_path, base, tensors, **{"r": 4, "lora_alpha": 8, **config})


def test_an_adapter_of_another_base_is_refused_both_ways(tmp_path: Path, base: Header) -> None:
    with pytest.raises(
        UsageError, match=r"ffn_down\.weight is for 768 x 256, the model has 96 x 64"
    ) as caught:
        convert_adapter(ADAPTERS / "pirate", base, tmp_path / "made.gguf")
    assert caught.value.hint
    with pytest.raises(UsageError, match="architecture qwen3, the model is llama"):
        check_adapter(read_header(ADAPTERS / "pirate.gguf"), base)


def test_an_architecture_that_we_do_not_know_lists_the_known_ones(tmp_path: Path) -> None:
    base = Header({"general.architecture": "mamba"}, {}, 0)

    with pytest.raises(UsageError, match=r"architecture mamba cannot be converted.*llama.*qwen3"):
        convert_adapter(ADAPTERS / "pirate", base, tmp_path / "made.gguf")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("model.embed_tokens", "uses for its output too"),
        ("lm_head", r"changes output\.weight, which the model does not have"),
    ],
)
def test_what_a_tied_model_has_only_once_cannot_be_adapted(
    tmp_path: Path, module: str, reason: str
) -> None:
    model = adapted.write_model(tmp_path / "tied", adapted.random_weights(), is_tied=True)
    base = read_header(convert_folder(model, tmp_path / "tied.gguf", file_type="F32").path)
    tensors = adapted.adapter_tensors(adapted.random_pairs({module: 4}))
    source = adapted.write_adapter(tmp_path / "adapter", tensors, r=4, lora_alpha=8)

    with pytest.raises(UsageError, match=reason):
        convert_adapter(source, base, tmp_path / "made.gguf")


def test_weights_without_settings_are_refused(tmp_path: Path, base: Header) -> None:
    weights = tmp_path / "adapter_model.safetensors"
    shutil.copy(ADAPTERS / "pirate" / weights.name, weights)

    with pytest.raises(NotFoundError, match=r"no adapter_config.json, which has the scale"):
        convert_adapter(weights, base, tmp_path / "made.gguf")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(IntegrityError, match="has no r, which must be"):
        convert_adapter(weights, base, tmp_path / "made.gguf")


@pytest.mark.parametrize("kind", [np.uint8, np.int32])
def test_an_adapter_of_whole_numbers_is_refused(tmp_path: Path, base: Header, kind: Any) -> None:
    pairs = {
        name: (a.astype(kind), b.astype(kind))
        for name, (a, b) in adapted.random_pairs({"model.layers.0.self_attn.q_proj": 4}).items()
    }
    folder = adapted.write_adapter(
        tmp_path / "peft", adapted.adapter_tensors(pairs), r=4, lora_alpha=8
    )

    with pytest.raises(UsageError, match="F32, F16 and BF16"):
        convert_adapter(folder, base, tmp_path / "adapter.gguf")
