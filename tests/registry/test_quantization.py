"""Which files of a repository are one model, and which model is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import IntegrityError, ModelNotFoundError, QuantizationNotFoundError
from localrun.registry.quantization import (
    BITS,
    bits_per_weight,
    choose,
    companions,
    quantization_of,
    variants,
)
from localrun.registry.remote import RemoteFile, Repository

GB, MB = 10**9, 10**6

# As the hub lists them; sizes rounded. From memory.
QWEN = {  # Qwen/Qwen2.5-7B-Instruct-GGUF: small ones whole, large ones split, lower case
    ".gitattributes": 2000,
    "LICENSE": 11343,
    "README.md": 5800,
    "qwen2.5-7b-instruct-fp16-00001-of-00004.gguf": 3_900 * MB,
    "qwen2.5-7b-instruct-fp16-00002-of-00004.gguf": 3_900 * MB,
    "qwen2.5-7b-instruct-fp16-00003-of-00004.gguf": 3_900 * MB,
    "qwen2.5-7b-instruct-fp16-00004-of-00004.gguf": 3_500 * MB,
    "qwen2.5-7b-instruct-q2_k.gguf": 3_020 * MB,
    "qwen2.5-7b-instruct-q3_k_m.gguf": 3_810 * MB,
    "qwen2.5-7b-instruct-q4_0-00001-of-00002.gguf": 3_990 * MB,
    "qwen2.5-7b-instruct-q4_0-00002-of-00002.gguf": 450 * MB,
    "qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf": 3_990 * MB,
    "qwen2.5-7b-instruct-q4_k_m-00002-of-00002.gguf": 690 * MB,
    "qwen2.5-7b-instruct-q8_0-00001-of-00003.gguf": 3_990 * MB,
    "qwen2.5-7b-instruct-q8_0-00002-of-00003.gguf": 3_990 * MB,
    "qwen2.5-7b-instruct-q8_0-00003-of-00003.gguf": 120 * MB,
}
BARTOWSKI = {  # bartowski/Llama-3.2-1B-Instruct-GGUF
    "Llama-3.2-1B-Instruct-IQ3_M.gguf": 657 * MB,
    "Llama-3.2-1B-Instruct-IQ4_XS.gguf": 743 * MB,
    "Llama-3.2-1B-Instruct-Q3_K_L.gguf": 733 * MB,
    "Llama-3.2-1B-Instruct-Q3_K_XL.gguf": 796 * MB,
    "Llama-3.2-1B-Instruct-Q4_0.gguf": 773 * MB,
    "Llama-3.2-1B-Instruct-Q4_0_4_4.gguf": 771 * MB,
    "Llama-3.2-1B-Instruct-Q4_0_4_8.gguf": 771 * MB,
    "Llama-3.2-1B-Instruct-Q4_0_8_8.gguf": 771 * MB,
    "Llama-3.2-1B-Instruct-Q4_K_L.gguf": 872 * MB,
    "Llama-3.2-1B-Instruct-Q4_K_M.gguf": 808 * MB,
    "Llama-3.2-1B-Instruct-Q4_K_S.gguf": 776 * MB,
    "Llama-3.2-1B-Instruct-Q5_K_M.gguf": 912 * MB,
    "Llama-3.2-1B-Instruct-Q6_K_L.gguf": 1_090 * MB,
    "Llama-3.2-1B-Instruct-Q8_0.gguf": 1_320 * MB,
    "Llama-3.2-1B-Instruct-f16.gguf": 2_480 * MB,
    "Llama-3.2-1B-Instruct.imatrix": 1 * MB,
    "README.md": 9000,
}
UNSLOTH = {  # unsloth/Qwen3-30B-A3B-GGUF, with more folders
    "BF16/Qwen3-30B-A3B-BF16-00001-of-00002.gguf": 49_600 * MB,
    "BF16/Qwen3-30B-A3B-BF16-00002-of-00002.gguf": 11_500 * MB,
    "Q4_K_M/Qwen3-30B-A3B-Q4_K_M-00001-of-00002.gguf": 10 * GB,
    "Q4_K_M/Qwen3-30B-A3B-Q4_K_M-00002-of-00002.gguf": 8_600 * MB,
    "Qwen3-30B-A3B-IQ4_NL.gguf": 17_300 * MB,
    "Qwen3-30B-A3B-UD-IQ1_S.gguf": 9 * GB,
    "Qwen3-30B-A3B-UD-IQ2_XXS.gguf": 10_300 * MB,
    "Qwen3-30B-A3B-UD-Q2_K_XL.gguf": 11_800 * MB,
    "Qwen3-30B-A3B-UD-Q4_K_XL.gguf": 17_700 * MB,
    "imatrix_unsloth.dat": 100 * MB,
    "imatrix_unsloth.gguf": 100 * MB,
    "chat_template.jinja": 4000,
}
GGML_ORG = {  # ggml-org/gemma-3-4b-it-GGUF
    "gemma-3-4b-it-Q4_K_M.gguf": 2_490 * MB,
    "gemma-3-4b-it-Q8_0.gguf": 4_130 * MB,
    "gemma-3-4b-it-f16.gguf": 7_770 * MB,
    "mmproj-model-f16.gguf": 851 * MB,
}
THEBLOKE = {  # TheBloke/Mistral-7B-Instruct-v0.2-GGUF
    "config.json": 31,
    "mistral-7b-instruct-v0.2.Q2_K.gguf": 3_080 * MB,
    "mistral-7b-instruct-v0.2.Q3_K_L.gguf": 3_820 * MB,
    "mistral-7b-instruct-v0.2.Q4_0.gguf": 4_110 * MB,
    "mistral-7b-instruct-v0.2.Q4_K_M.gguf": 4_370 * MB,
    "mistral-7b-instruct-v0.2.Q5_K_S.gguf": 5_000 * MB,
    "mistral-7b-instruct-v0.2.Q8_0.gguf": 7_700 * MB,
}
TWO_MODELS = {
    "draft-0.5b-Q4_K_M.gguf": 400 * MB,
    "target-7b-Q4_K_M.gguf": 4_700 * MB,
    "target-7b-Q8_0.gguf": 8_100 * MB,
}


def repository(files: dict[str, int] | list[str]) -> Repository:
    sizes = files if isinstance(files, dict) else dict.fromkeys(files, 1)
    listed = tuple(RemoteFile(name=name, size_bytes=size) for name, size in sizes.items())
    return Repository(name="hf.co/owner/model-GGUF", revision="c0ffee", files=listed)


def names(files: dict[str, int] | list[str]) -> set[str]:
    return {variant.quantization for variant in variants(repository(files))}


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "Q4_K_M"),
        ("mistral-7b-instruct-v0.2.Q5_K_S.gguf", "Q5_K_S"),
        ("Meta-Llama-3-8B-IQ2_XXS.gguf", "IQ2_XXS"),
        ("x-IQ4_NL.gguf", "IQ4_NL"),
        ("Qwen3-30B-A3B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("x-UD-TQ1_0.gguf", "UD-TQ1_0"),
        ("x-Q4_0_4_4.gguf", "Q4_0_4_4"),
        ("x-Q6_K.gguf", "Q6_K"),
        ("x-Q6_K_L.gguf", "Q6_K_L"),
        ("x-F16.gguf", "F16"),
        ("x.fp16.gguf", "F16"),
        ("x-bf16.gguf", "BF16"),
        ("x-F32.GGUF", "F32"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Qwen3-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("Bitnet-TQ1_0.gguf", "TQ1_0"),
        ("model.i1-IQ3_XS.gguf", "IQ3_XS"),
        ("ggml-model-q4_0.gguf", "Q4_0"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "Q4"),
        ("Q8_0/model.gguf", "Q8_0"),
        ("Q8_0/model-Q4_0.gguf", "Q4_0"),
        ("from-Q8_0-to-Q4_K_S.gguf", "Q4_K_S"),
        ("ggml-model-i2_s.gguf", None),
        ("model.gguf", None),
        ("sales-Q2-2024.gguf", None),
        ("SQ4_0X.gguf", None),
        ("README.md", None),
    ],
)
def test_a_name_states_its_quantization(name: str, quantization: str | None) -> None:
    assert quantization_of(name) == quantization


@given(
    quantization=st.sampled_from(sorted(BITS)),
    mark=st.sampled_from(["-", ".", "_"]),
    is_lower=st.booleans(),
)
def test_every_known_quantization_is_found_in_any_case(
    quantization: str, mark: str, *, is_lower: bool
) -> None:
    name = f"Some-Model-7B{mark}{quantization.lower() if is_lower else quantization}.gguf"

    assert quantization_of(name) == quantization


@given(st.text(max_size=60))
def test_any_text_is_a_name(text: str) -> None:
    quantization_of(text)


def test_the_official_qwen_repository_has_six_variants() -> None:
    assert names(QWEN) == {"Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q8_0", "F16"}


def test_shards_are_in_order_and_their_sizes_add_up() -> None:
    shuffled = dict(sorted(QWEN.items(), reverse=True))

    chosen = choose(repository(shuffled), "q4_k_m").variant

    assert [file.name.removeprefix("qwen2.5-7b-instruct-q4_k_m-") for file in chosen.files] == [
        "00001-of-00002.gguf",
        "00002-of-00002.gguf",
    ]
    assert chosen.size_bytes == 4_680 * MB


def test_variants_come_smallest_first() -> None:
    sizes = [variant.size_bytes for variant in variants(repository(UNSLOTH))]

    assert sizes == sorted(sizes)


def test_bartowskis_imatrix_is_no_variant() -> None:
    assert len(variants(repository(BARTOWSKI))) == len(BARTOWSKI) - 2


def test_unsloths_folders_and_dynamic_quantizations_are_variants() -> None:
    assert names(UNSLOTH) == {
        "BF16",
        "Q4_K_M",
        "IQ4_NL",
        "UD-IQ1_S",
        "UD-IQ2_XXS",
        "UD-Q2_K_XL",
        "UD-Q4_K_XL",
    }


@pytest.mark.parametrize(
    "name",
    [
        "mmproj-F16.gguf",
        "Qwen2.5-VL-7B-Instruct-mmproj-f16.gguf",
        "imatrix.gguf",
        "x.imatrix.gguf",
        "ggml-vocab-llama-bpe.gguf",
        "lora-F16.gguf",
        "x-adapter-F16.gguf",
        "x-Q4_K_M.gguf.part1of2",
        "x-Q4_K_M.bin",
    ],
)
def test_what_is_no_model_of_its_own_is_no_variant(name: str) -> None:
    assert variants(repository([name])) == []


def test_a_word_within_a_name_does_not_hide_a_model() -> None:
    assert names(["Florala-adaptered-Q4_0.gguf"]) == {"Q4_0"}


def test_two_models_of_one_quantization_go_by_their_files() -> None:
    assert names(TWO_MODELS) == {"draft-0.5b-Q4_K_M", "target-7b-Q4_K_M", "Q8_0"}


def test_two_files_of_one_name_go_by_their_paths() -> None:
    assert names(["a/m-Q4_0.gguf", "b/m-Q4_0.gguf"]) == {"a/m-Q4_0", "b/m-Q4_0"}


def test_a_model_without_quantization_goes_by_its_file() -> None:
    assert names(["model.gguf"]) == {"model"}


def test_a_model_that_is_there_whole_and_split_is_taken_whole() -> None:
    found = variants(repository(["m-Q4_0-00001-of-00002.gguf", "m-Q4_0.gguf"]))

    assert [file.name for variant in found for file in variant.files] == ["m-Q4_0.gguf"]


def test_a_missing_shard_is_named() -> None:
    files = {name: size for name, size in QWEN.items() if "fp16-00002" not in name}

    with pytest.raises(IntegrityError, match=r"qwen2.5-7b-instruct-fp16-00002-of-00004\.gguf is"):
        variants(repository(files))


def test_of_many_missing_shards_three_are_named() -> None:
    with pytest.raises(IntegrityError, match=r"00004-of-99999\.gguf and 99995 more is missing"):
        variants(repository(["m-Q4_0-00001-of-99999.gguf"]))


def test_many_files_that_announce_many_shards_are_looked_at_in_little_work() -> None:
    names = [f"m{number}-00002-of-99999.gguf" for number in range(1000)]

    with pytest.raises(IntegrityError, match=r"m0-00001-of-99999\.gguf, .* and \d+ more"):
        variants(Repository(name="r", revision=None, files=tuple(map(_file, names))))


def test_a_hint_lists_no_more_variants_than_one_can_read() -> None:
    names = [f"m{number}.gguf" for number in range(100)]

    with pytest.raises(QuantizationNotFoundError) as caught:
        choose(Repository(name="r", revision=None, files=tuple(map(_file, names))), "Q8_0")

    assert str(caught.value.hint).endswith("and 50 more")


def _file(name: str) -> RemoteFile:
    return RemoteFile(name=name, size_bytes=1)


def test_a_missing_shard_hurts_only_its_own_variant() -> None:
    files = repository([name for name in QWEN if "fp16-00002" not in name])

    assert choose(files, None).variant.quantization == "Q4_K_M"
    with pytest.raises(IntegrityError):
        choose(files, "f16")


@pytest.mark.parametrize("tag", ["Q8_0", "q8_0"])
def test_a_stated_tag_is_taken_in_any_case(tag: str) -> None:
    choice = choose(repository(BARTOWSKI), tag)

    assert (choice.variant.quantization, choice.is_stated) == ("Q8_0", True)


def test_a_tag_may_be_spelled_as_the_file_spells_it() -> None:
    assert choose(repository(QWEN), "fp16").variant.quantization == "F16"


def test_a_tag_may_be_the_name_of_a_file() -> None:
    chosen = choose(repository(TWO_MODELS), "TARGET-7b-q4_k_m").variant

    assert chosen.files[0].name == "target-7b-Q4_K_M.gguf"


def test_a_stated_tag_is_never_another_silently() -> None:
    with pytest.raises(QuantizationNotFoundError, match="has no Q4_K_XL") as caught:
        choose(repository(UNSLOTH), "Q4_K_XL")

    assert caught.value.hint
    assert "UD-Q4_K_XL (17.7 GB)" in caught.value.hint


def test_a_tag_of_two_models_lists_them() -> None:
    with pytest.raises(QuantizationNotFoundError, match="several models in Q4_K_M") as caught:
        choose(repository(TWO_MODELS), "Q4_K_M")

    assert "draft-0.5b-Q4_K_M (400 MB)" in str(caught.value.hint)


@pytest.mark.parametrize("tag", [None, "latest", "LATEST"])
@pytest.mark.parametrize("files", [QWEN, BARTOWSKI, UNSLOTH, GGML_ORG, THEBLOKE])
def test_without_a_tag_it_is_q4_k_m_and_not_stated(files: dict[str, int], tag: str | None) -> None:
    choice = choose(repository(files), tag)

    assert (choice.variant.quantization, choice.is_stated) == ("Q4_K_M", False)


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["Q8_0", "Q2_K"], "Q2_K"),
        (["Q8_0", "Q5_K_M", "Q3_K_M"], "Q5_K_M"),
        (["Q4_K_S", "Q5_K_S"], "Q4_K_S"),
        (["UD-Q4_K_XL", "IQ4_XS"], "UD-Q4_K_XL"),
        (["UD-Q4_K_M", "Q4_K"], "UD-Q4_K_M"),
        (["Q4_0_4_4", "F16"], "F16"),
        (["F16", "BF16"], "BF16"),
        (["F32", "i2_s"], "F32"),
    ],
)
def test_without_q4_k_m_the_nearest_in_size_is_taken(there: list[str], taken: str) -> None:
    choice = choose(repository([f"m-{name}.gguf" for name in there]), None)

    assert (choice.variant.quantization, choice.is_stated) == (taken, False)


def test_the_only_model_is_taken_whatever_its_name() -> None:
    assert choose(repository(["model.gguf"]), None).variant.files[0].name == "model.gguf"


def test_a_repository_without_gguf_files_says_so() -> None:
    with pytest.raises(ModelNotFoundError, match="no GGUF model"):
        choose(repository(["model.safetensors"]), None)


def test_more_bits_are_more_bits() -> None:
    order = ["IQ1_S", "IQ2_XXS", "Q2_K", "Q3_K_M", "IQ4_XS", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"]

    assert sorted(order, key=bits_per_weight) == order


def test_an_unknown_quantization_goes_by_its_digit() -> None:
    assert bits_per_weight("Q5_K_XXL") == 5.5


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"], "mmproj-F16.gguf"),
        (["mmproj-F32.gguf", "mmproj-Q8_0.gguf", "mmproj-BF16.gguf"], "mmproj-BF16.gguf"),
        (["mmproj-F32.gguf", "mmproj-Q8_0.gguf"], "mmproj-Q8_0.gguf"),
        (["mmproj-model.gguf"], "mmproj-model.gguf"),
        (["model-F16.gguf"], None),
    ],
)
def test_the_projector_is_the_one_of_best_precision_for_its_size(
    there: list[str], taken: str | None
) -> None:
    projector = companions(repository(there)).projector

    assert (projector and projector.name) == taken


def test_companions_are_the_template_and_the_licences() -> None:
    found = companions(repository([*QWEN, *UNSLOTH, "sub/LICENSE.txt", "NOTICE", "license_x.py"]))

    assert found.template
    assert found.template.name == "chat_template.jinja"
    assert [file.name for file in found.licences] == ["LICENSE", "NOTICE", "sub/LICENSE.txt"]


def test_a_template_at_the_root_is_taken_first() -> None:
    template = companions(repository(["a/chat_template.jinja", "chat_template.jinja"])).template

    assert template
    assert template.name == "chat_template.jinja"


def test_no_companions_are_none() -> None:
    found = companions(repository(THEBLOKE))

    assert (found.projector, found.template, found.licences) == (None, None, ())


def test_draft_heads_beside_a_model_are_no_variants_of_it() -> None:
    found = repository(
        [
            "Qwen3-8B-Q4_K_M.gguf",
            "Qwen3-8B-MTP-Q8_0.gguf",
            "dflash-Qwen3-8B-Q4_K_M.gguf",
            "eagle3-Qwen3-8B-Q4_K_M.gguf",
            "heads/EAGLE3-Qwen3-8B-F16.gguf",
            "mtp-Qwen3-8B-Q4_K_M.gguf",
        ]
    )

    assert [variant.quantization for variant in variants(found)] == ["Q4_K_M", "Q8_0"]
    assert [head.name for head in companions(found).heads] == [
        "eagle3-Qwen3-8B-Q4_K_M.gguf",
        "heads/EAGLE3-Qwen3-8B-F16.gguf",
        "dflash-Qwen3-8B-Q4_K_M.gguf",
    ]
