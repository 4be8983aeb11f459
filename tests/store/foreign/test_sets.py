"""What the names of GGUF files tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from localrun.store.foreign.model import ForeignFile
from localrun.store.foreign.sets import (
    GgufSet,
    gguf_sets,
    is_model_name,
    models_of_repository,
    quantization,
)


def files_named(*names: str) -> list[ForeignFile]:
    return [
        ForeignFile(path=Path("/blobs", name), name=name, role="weights", size_bytes=1)
        for name in names
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen3-0.6B-Q8_0.gguf", "Q8_0"),
        ("llama-2-7b.Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("model-IQ2_XXS.gguf", "IQ2_XXS"),
        ("model-iq4_nl.gguf", "IQ4_NL"),
        ("Qwen3-8B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("model-UD-IQ1_M.gguf", "UD-IQ1_M"),
        ("model-Q6_K.gguf", "Q6_K"),
        ("model-Q4_0_4_8.gguf", "Q4_0_4_8"),
        ("model_f16.gguf", "F16"),
        ("model-BF16.gguf", "BF16"),
        ("model.fp16.gguf", "FP16"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("model-TQ1_0.gguf", "TQ1_0"),
        ("BF16-to-Q5_K_S", "Q5_K_S"),
        ("Q8_0/model-00001-of-00002.gguf", "Q8_0"),
        ("Q4_K_M_v2.gguf", "Q4_K_M"),
        ("ggml-model.gguf", None),
        ("faq4all.gguf", None),
        ("model-Q9_0.gguf", None),
    ],
)
def test_the_quantization_is_found_in_a_name(name: str, expected: str | None) -> None:
    assert quantization(name) == expected


def test_shards_form_a_set_in_their_order() -> None:
    names = ["b-00002-of-00002.gguf", "a.gguf", "b-00001-of-00002.gguf", "b.txt", "._a.gguf"]

    assert gguf_sets(names) == [
        GgufSet(stem="a", names=("a.gguf",)),
        GgufSet(stem="b", names=("b-00001-of-00002.gguf", "b-00002-of-00002.gguf")),
    ]


def test_a_set_tells_which_shard_is_missing() -> None:
    (one,) = gguf_sets(["m-00001-of-99999.gguf", "m-00003-of-99999.gguf"])

    assert (one.num_missing, one.first_missing) == (99997, "m-00002-of-99999.gguf")


@pytest.mark.parametrize("name", ["m-00003-of-00002", "m-00000-of-00002", "m-00000-of-00000"])
def test_a_number_outside_the_total_makes_no_shard(name: str) -> None:
    assert gguf_sets([f"{name}.gguf"]) == [GgufSet(stem=name, names=(f"{name}.gguf",))]


def test_shards_of_different_folders_are_different_sets() -> None:
    names = ["a/m-00001-of-00002.gguf", "b/m-00002-of-00002.gguf"]

    assert [one.num_missing for one in gguf_sets(names)] == [1, 1]


def test_projectors_and_importance_matrices_are_no_models() -> None:
    assert not is_model_name("mmproj-model-f16")
    assert not is_model_name("x/gemma-mmproj-Q8_0")
    assert not is_model_name("imatrix_unsloth")
    assert is_model_name("Llama-imatrix-Q4_K_M")
    assert is_model_name("mmproj-folder/model-Q8_0")


def test_models_that_share_a_quantization_go_by_their_stem() -> None:
    files = files_named("base-Q8_0.gguf", "sub/chat-Q8_0.gguf", "chat-Q4_0.gguf", "plain.gguf")

    models = models_of_repository(files, tool="t", repository="o/r")

    assert [model.name for model in models] == [
        "o/r:base-Q8_0",
        "o/r:Q4_0",
        "o/r:plain",
        "o/r:chat-Q8_0",
    ]


@pytest.mark.parametrize(
    ("projectors", "taken"),
    [
        (["mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"], "mmproj-F16.gguf"),
        (["mmproj-F32.gguf", "mmproj-Q8_0.gguf"], "mmproj-Q8_0.gguf"),
        (["b-mmproj.gguf", "a-mmproj.gguf"], "a-mmproj.gguf"),
    ],
)
def test_one_projector_of_several_is_taken(projectors: list[str], taken: str) -> None:
    (model,) = models_of_repository(
        files_named("m-Q8_0.gguf", *projectors), tool="t", repository="o/r"
    )

    assert [file.name for file in model.files] == ["m-Q8_0.gguf", taken]
