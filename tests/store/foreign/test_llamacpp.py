"""The models in llama.cpp's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.store.foreign.llamacpp import find_llamacpp_models
from tests.store.foreign.layouts import PROJECTOR, without_change, write, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.foreign.model import ForeignModel

MANIFEST = "manifest=ggml-org=gemma-3-4b-it-GGUF=Q4_K_M.json"
CACHED = "ggml-org_gemma-3-4b-it-GGUF_"


def found(root: Path) -> list[ForeignModel]:
    return without_change(root, lambda: find_llamacpp_models(root))


def names(root: Path) -> list[str]:
    return [model.name for model in found(root)]


def test_a_manifest_names_the_model_and_its_projector(tmp_path: Path) -> None:
    path = write(tmp_path / f"{CACHED}gemma-3-4b-it-Q4_K_M.gguf")
    write(tmp_path / f"{CACHED}gemma-3-4b-it-Q4_K_M.gguf.etag", '"x"')
    write(tmp_path / f"{CACHED}mmproj-model-f16.gguf", PROJECTOR)
    write_json(
        tmp_path / MANIFEST,
        {
            "ggufFile": {"rfilename": "gemma-3-4b-it-Q4_K_M.gguf", "size": 1},
            "mmprojFile": {"rfilename": "mmproj-model-f16.gguf"},
        },
    )

    (model,) = found(tmp_path)

    assert (model.tool, model.name) == ("llama.cpp", "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M")
    assert [file.role for file in model.files] == ["weights", "projector"]
    assert (model.files[0].path, model.files[0].digest) == (path.resolve(), None)
    assert model.manifest is None


def test_a_manifest_brings_all_shards_also_from_a_subfolder_of_the_repository(
    tmp_path: Path,
) -> None:
    shards = [f"{CACHED}Q4_K_M_m-{number:05}-of-00002.gguf" for number in (1, 2)]
    for name in shards:
        write(tmp_path / name)
    write_json(tmp_path / MANIFEST, {"ggufFile": {"rfilename": "Q4_K_M/m-00001-of-00002.gguf"}})

    (model,) = found(tmp_path)

    assert model.name == "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M"
    assert [file.name for file in model.files] == shards


def test_without_a_manifest_a_model_goes_by_its_stem(tmp_path: Path) -> None:
    write(tmp_path / "owner_repo_m-Q8_0.gguf")
    write(tmp_path / "owner_repo_m-Q8_0.gguf.json", "{}")
    write(tmp_path / "owner_repo_mmproj-f16.gguf", PROJECTOR)
    write(tmp_path / "owner_repo_n.gguf.downloadInProgress")
    write(tmp_path / "owner_repo_o-00001-of-00002.gguf")

    assert names(tmp_path) == ["owner_repo_m-Q8_0"]


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        {},
        {"ggufFile": None},
        {"ggufFile": {"rfilename": 3}},
        {"ggufFile": {"rfilename": "absent.gguf"}},
        {"ggufFile": {"rfilename": "../../etc/passwd"}},
        {"ggufFile": {"rfilename": "a\0b.gguf"}},
        {"ggufFile": {"rfilename": "half-00001-of-00002.gguf"}},
    ],
    ids=str,
)
def test_a_manifest_of_what_is_not_there_names_nothing(tmp_path: Path, manifest: object) -> None:
    write(tmp_path / f"{CACHED}half-00001-of-00002.gguf")
    write(tmp_path / "other.gguf")
    write_json(tmp_path / MANIFEST, manifest)

    assert names(tmp_path) == ["other"]


@pytest.mark.parametrize("name", ["manifest=a=b.json", "manifest=a=b=c=d.json", "manifest=a=b=c.x"])
def test_a_manifest_needs_its_three_parts(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a_b_m.gguf")
    write_json(tmp_path / name, {"ggufFile": {"rfilename": "m.gguf"}})

    assert names(tmp_path) == ["a_b_m"]


def test_a_missing_projector_leaves_the_model(tmp_path: Path) -> None:
    write(tmp_path / f"{CACHED}m.gguf")
    files = {"ggufFile": {"rfilename": "m.gguf"}, "mmprojFile": {"rfilename": "mmproj.gguf"}}
    write_json(tmp_path / MANIFEST, files)

    (model,) = found(tmp_path)

    assert [file.role for file in model.files] == ["weights"]


def test_a_file_that_is_a_folder_or_a_dead_link_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "gone.gguf").symlink_to("nowhere")

    assert names(tmp_path) == []


def test_the_layout_of_hugging_face_is_read_as_well(tmp_path: Path) -> None:
    write(tmp_path / "models--o--r" / "snapshots" / ("a" * 40) / "m-Q8_0.gguf")

    (model,) = found(tmp_path)

    assert (model.tool, model.name) == ("llama.cpp", "o/r:Q8_0")
