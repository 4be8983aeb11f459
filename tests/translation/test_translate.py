"""Files in Ollama's layout become those that llama.cpp reads, tensor for tensor."""

from __future__ import annotations

from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGUFValueType

from localrun.errors import IntegrityError
from localrun.gguf.header import read_header
from localrun.store.store import embedded_models
from localrun.translation.rules import is_current, rules_for
from localrun.translation.translate import translate
from tests.engine import tiny
from tests.translation import files
from tests.translation.families import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

U32 = GGUFValueType.UINT32


@pytest.fixture(scope="module")
def vocabulary() -> Path:
    return embedded_models()["guide:latest"]


@pytest.fixture(params=FAMILIES, scope="module")
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, vocabulary: Path
) -> tuple[Path, Path]:
    """Return a file as llama.cpp reads it, and as Ollama wrote it."""
    tmp_path = tmp_path_factory.mktemp(request.param)
    family = FAMILIES[request.param]
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    family.make(ours, vocabulary)
    family.write_old(ours, theirs)
    return ours, theirs


def test_a_translated_file_is_the_one_that_llama_cpp_reads(
    pair: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ours, theirs = pair
    family = FAMILIES[request.node.callspec.params["pair"]]
    made, done = tmp_path / "made.gguf", list[tuple[int, int]]()

    result = translate(theirs, made, None, lambda *progress: done.append(progress))

    keys, tensors = files.contents(made)
    expected_keys, expected_tensors = files.contents(ours)
    kept = {key: value for key, value in keys.items() if key not in family.lost_keys}
    assert kept == expected_keys | dict(family.set_keys)
    assert_alike(tensors, expected_tensors)
    assert result.num_dropped == len(family.projector)
    assert done[-1][0] == done[-1][1] > 0
    assert rules_for(read_header(made)) is None


def assert_alike(tensors: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare the shapes and bytes of tensors; to a norm that was stored less 1, 1 is added."""
    assert tensors.keys() == expected.keys()
    for name, (shape, content) in expected.items():
        assert tensors[name][0] == shape
        if tensors[name][1] != content:
            assert "norm" in name
            found, wanted = np.frombuffer(tensors[name][1]), np.frombuffer(content)
            assert np.allclose(found.view(np.float32), wanted.view(np.float32), atol=1e-6)


def test_data_begins_at_the_same_place_of_a_block(pair: tuple[Path, Path], tmp_path: Path) -> None:
    _, theirs = pair
    made = tmp_path / "made.gguf"
    translate(theirs, made)

    before, after = read_header(theirs), read_header(made)
    largest = "token_embd.weight"  # and so in the longest range
    starts = [each.data_start + each.tensors[largest].offset for each in (before, after)]
    assert (starts[1] - starts[0]) % 4096 == 0


def test_files_that_llama_cpp_reads_are_left_alone(tmp_path: Path, vocabulary: Path) -> None:
    makers = [family.make for family in FAMILIES.values()]
    for number, make in enumerate([*makers, tiny.full_attention, tiny.encoder]):
        path = tmp_path / f"{number}.gguf"
        make(path, vocabulary)
        assert rules_for(read_header(path)) is None


def test_large_gemma_files_get_the_scaling_of_their_positions(
    tmp_path: Path, vocabulary: Path
) -> None:
    ours, theirs, made = (tmp_path / f"{name}.gguf" for name in ("ours", "theirs", "made"))
    files.gemma3(ours, vocabulary)
    files.write_as_ollama(
        ours,
        theirs,
        "gemma3",
        keys={"gemma3.context_length": None, "gemma3.attention.layer_norm_rms_epsilon": None},
        values={"gemma3.context_length": (131072, U32)},
        tensors=str,
    )

    translate(theirs, made)

    metadata = read_header(made).metadata
    assert metadata["gemma3.rope.scaling.type"] == "linear"
    assert metadata["gemma3.rope.scaling.factor"] == 8.0


def test_a_vocabulary_is_cut_to_the_rows_of_its_table(tmp_path: Path, vocabulary: Path) -> None:
    ours, theirs, made = (tmp_path / f"{name}.gguf" for name in ("ours", "theirs", "made"))
    files.gemma3(ours, vocabulary)
    tokens = files.contents(ours)[0]["tokenizer.ggml.tokens"]
    longer = partial(files.write_as_ollama, ours, theirs, "gemma3", tensors=str)
    longer(
        keys={"tokenizer.ggml.tokens": None, "gemma3.attention.layer_norm_rms_epsilon": None},
        lists={"tokenizer.ggml.tokens": [*tokens, "<image>", "<sound>"]},
    )

    translate(theirs, made)

    assert files.contents(made)[0]["tokenizer.ggml.tokens"] == tokens


def test_a_cut_off_file_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    files.olmo2(ours, vocabulary)
    FAMILIES["olmo3"].write_old(ours, theirs)
    with theirs.open("r+b") as file:
        file.truncate(theirs.stat().st_size - 4096)

    with pytest.raises(IntegrityError, match="cut off"):
        translate(theirs, tmp_path / "made.gguf")


def test_a_translation_into_a_name_that_is_taken_is_refused(
    tmp_path: Path, vocabulary: Path
) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    files.gpt_oss(ours, vocabulary)
    names = {"blk.0.attn_q.weight": "blk.0.attn_sinks", "blk.0.attn_sinks.weight": "x"}
    files.write_as_ollama(
        ours,
        theirs,
        "gptoss",
        keys={},
        tensors=lambda name: names.get(name, name),
        extra_tensors=("blk.0.attn_sinks.weight",),
    )

    with pytest.raises(IntegrityError, match="same name"):
        translate(theirs, tmp_path / "made.gguf")


def test_tensors_that_overlap_do_not_multiply(tmp_path: Path, vocabulary: Path) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    files.olmo2(ours, vocabulary)
    files.write_as_ollama(ours, theirs, "olmo3", keys={}, tensors=str)
    content = bytearray(theirs.read_bytes())
    for layer in range(tiny.LAYERS):  # each norm becomes as large as the first tensor
        for part in ("attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm"):
            name = f"blk.{layer}.{part}.weight".encode()
            at = content.index(name) + len(name)
            content[at + 4 : at + 12] = (tiny.WIDTH * 1500).to_bytes(8, "little")
            content[at + 16 : at + 24] = bytes(8)
    theirs.write_bytes(content)

    with pytest.raises(IntegrityError, match="overlap"):
        translate(theirs, tmp_path / "made.gguf")


def test_every_family_has_a_model_in_these_tests() -> None:
    folder = resources.files("localrun.translation").joinpath("families")
    files = {file.name for file in folder.iterdir() if file.name.endswith(".toml")}
    tested = {"bert.toml": "snowflake-arctic-embed2", "clip.toml": ""}  # clip: with its model

    names = {tested.get(name, name.removesuffix(".toml")) for name in files}

    assert names - {""} == FAMILIES.keys()


def test_rules_are_current_until_their_version_grows() -> None:
    assert is_current("gptoss gpt-oss 1")
    assert not is_current("gptoss gpt-oss 0")
    assert not is_current("unheard-of other 1")
