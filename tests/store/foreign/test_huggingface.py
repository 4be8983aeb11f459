"""The GGUF models of a Hugging Face cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from localrun.store.foreign.huggingface import find_huggingface_models
from tests.store.foreign.layouts import PROJECTOR, WEIGHTS, sha256, without_change, write

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.foreign.model import ForeignModel

MAIN, OTHER = "a" * 40, "b" * 40
QWEN = "models--Qwen--Qwen3-0.6B-GGUF"


def found(hub: Path) -> list[ForeignModel]:
    return without_change(hub, lambda: find_huggingface_models(hub))


def names(hub: Path) -> list[str]:
    return [model.name for model in found(hub)]


def cached(repository: Path, name: str, content: bytes = WEIGHTS, commit: str = MAIN) -> Path:
    """Put a file into the cache as huggingface_hub does it, and return the blob."""
    blob = write(repository / "blobs" / sha256(content), content)
    link = repository / "snapshots" / commit / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    return blob


def refs_main(repository: Path, commit: str) -> None:
    write(repository / "refs" / "main", commit)


def test_each_quantization_is_a_model_with_the_digest_of_its_blob(tmp_path: Path) -> None:
    refs_main(tmp_path / QWEN, MAIN)
    blob = cached(tmp_path / QWEN, "Qwen3-0.6B-Q8_0.gguf")
    cached(tmp_path / QWEN, "Qwen3-0.6B-Q4_K_M.gguf", WEIGHTS + b"4")
    cached(tmp_path / QWEN, "config.json", b"{}")

    small, large = found(tmp_path)

    assert small.name == "Qwen/Qwen3-0.6B-GGUF:Q4_K_M"
    assert (large.tool, large.name) == ("huggingface", "Qwen/Qwen3-0.6B-GGUF:Q8_0")
    assert (large.revision, large.manifest) == (MAIN, None)
    (file,) = large.files
    assert (file.path, file.name) == (blob.resolve(), "Qwen3-0.6B-Q8_0.gguf")
    assert (file.role, file.digest) == ("weights", f"sha256:{sha256(WEIGHTS)}")


def test_a_split_model_is_one_model_with_its_shards_in_order(tmp_path: Path) -> None:
    for number in (2, 1, 3):
        name = f"Q4_K_M/m-{number:05}-of-00003.gguf"
        cached(tmp_path / QWEN, name, WEIGHTS + bytes([number]))

    (model,) = found(tmp_path)

    assert model.name == "Qwen/Qwen3-0.6B-GGUF:Q4_K_M"
    assert [file.name for file in model.files] == [
        f"Q4_K_M/m-{number:05}-of-00003.gguf" for number in (1, 2, 3)
    ]


def test_a_split_model_that_is_not_complete_is_left_out(tmp_path: Path) -> None:
    cached(tmp_path / QWEN, "m-Q8_0.gguf")
    cached(tmp_path / QWEN, "m-Q4_0-00001-of-00002.gguf", WEIGHTS + b"1")
    (tmp_path / QWEN / "snapshots" / MAIN / "m-Q4_0-00002-of-00002.gguf").symlink_to("gone")

    assert names(tmp_path) == ["Qwen/Qwen3-0.6B-GGUF:Q8_0"]


def test_the_projector_belongs_to_every_model_of_the_snapshot(tmp_path: Path) -> None:
    cached(tmp_path / QWEN, "mmproj-F16.gguf", PROJECTOR)
    cached(tmp_path / QWEN, "m-Q8_0.gguf")
    cached(tmp_path / QWEN, "m-Q4_0.gguf", WEIGHTS + b"4")

    for model in found(tmp_path):
        assert [file.role for file in model.files] == ["weights", "projector"]
    assert len(found(tmp_path)) == 2


def test_the_snapshot_of_main_is_read_though_another_is_newer(tmp_path: Path) -> None:
    refs_main(tmp_path / QWEN, f"{MAIN}\n")
    cached(tmp_path / QWEN, "m-Q8_0.gguf")
    cached(tmp_path / QWEN, "m-Q4_0.gguf", commit=OTHER)
    os.utime(tmp_path / QWEN / "snapshots" / MAIN, (1, 1))

    assert [model.revision for model in found(tmp_path)] == [MAIN]


@pytest.mark.parametrize("ref", [None, "../../../..", "c" * 40, "", "x" * 5_000_000])
def test_without_a_usable_main_the_newest_snapshot_is_read(tmp_path: Path, ref: str | None) -> None:
    if ref is not None:
        refs_main(tmp_path / QWEN, ref)
    for commit, seconds in ((OTHER, 2), (MAIN, 1)):
        cached(tmp_path / QWEN, "m-Q8_0.gguf", commit=commit)
        os.utime(tmp_path / QWEN / "snapshots" / commit, (seconds, seconds))

    assert [model.revision for model in found(tmp_path)] == [OTHER]


def test_a_main_without_models_gives_way_to_the_next_snapshot(tmp_path: Path) -> None:
    refs_main(tmp_path / QWEN, MAIN)
    cached(tmp_path / QWEN, "README.md", b"text")
    cached(tmp_path / QWEN, "m-Q8_0.gguf", commit=OTHER)

    assert [model.revision for model in found(tmp_path)] == [OTHER]


def test_a_cache_without_links_claims_no_digest(tmp_path: Path) -> None:
    write(tmp_path / QWEN / "snapshots" / MAIN / "m-Q8_0.gguf")
    blob = write(tmp_path / QWEN / "blobs" / ("c" * 40))  # git's name of a small file
    (tmp_path / QWEN / "snapshots" / MAIN / "m-Q4_0.gguf").symlink_to(blob)

    elsewhere = write(tmp_path / "elsewhere" / ("d" * 64))
    (tmp_path / QWEN / "snapshots" / MAIN / "m-Q5_0.gguf").symlink_to(elsewhere)

    assert [model.files[0].digest for model in found(tmp_path)] == [None, None, None]


def test_folders_that_are_no_repository_of_models_are_left_out(tmp_path: Path) -> None:
    for name in ("datasets--a--b", "models--a--b--c", "models--..--..", "models--", "version.txt"):
        cached(tmp_path / name, "m-Q8_0.gguf")
    cached(tmp_path / "models--gpt2", "m-Q8_0.gguf")
    write(tmp_path / "models--a--file")

    assert names(tmp_path) == ["gpt2:Q8_0"]


def test_links_in_a_loop_end(tmp_path: Path) -> None:
    cached(tmp_path / QWEN, "m-Q8_0.gguf")
    snapshot = tmp_path / QWEN / "snapshots" / MAIN
    (snapshot / "up").symlink_to(tmp_path)
    (snapshot / "self-Q4_0.gguf").symlink_to("self-Q4_0.gguf")

    assert names(tmp_path) == ["Qwen/Qwen3-0.6B-GGUF:Q8_0"]
