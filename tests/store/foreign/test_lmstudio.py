"""The models of LM Studio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.store.foreign.lmstudio import find_lmstudio_models, lmstudio_folders
from tests.store.foreign.layouts import PROJECTOR, WEIGHTS, without_change, write, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.foreign.model import ForeignModel


def found(root: Path) -> list[ForeignModel]:
    return without_change(root, lambda: find_lmstudio_models(root))


def test_models_lie_two_folders_deep_and_go_by_publisher_and_repository(tmp_path: Path) -> None:
    folder = tmp_path / "lmstudio-community" / "gemma-3-4b-it-GGUF"
    path = write(folder / "gemma-3-4b-it-Q4_K_M.gguf", WEIGHTS)
    write(folder / "mmproj-model-f16.gguf", PROJECTOR)
    write(folder / "downloading_gemma-Q8_0.gguf.part")

    (model,) = found(tmp_path)

    assert (model.tool, model.name) == ("lmstudio", "lmstudio-community/gemma-3-4b-it-GGUF:Q4_K_M")
    assert [file.role for file in model.files] == ["weights", "projector"]
    assert (model.files[0].path, model.files[0].digest) == (path.resolve(), None)
    assert (model.revision, model.manifest) == (None, None)


def test_shards_are_one_model_if_they_are_complete(tmp_path: Path) -> None:
    for name in ("m-00002-of-00002", "m-00001-of-00002", "n-00001-of-00002"):
        write(tmp_path / "p" / "r" / f"{name}.gguf")

    (model,) = found(tmp_path)

    assert model.name == "p/r:m"
    assert [file.name for file in model.files] == ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]


def test_files_at_another_depth_and_dead_links_are_left_out(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "p", tmp_path / "p" / "r" / "deep"):
        write(folder / "m-Q8_0.gguf")
    (tmp_path / "p" / "r" / "gone-Q8_0.gguf").symlink_to("nowhere")

    assert found(tmp_path) == []


def test_linked_folders_are_read_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "m-Q8_0.gguf")
    (tmp_path / "root" / "p").mkdir(parents=True)
    (tmp_path / "root" / "p" / "r").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "p" / "loop").symlink_to(tmp_path / "root")

    assert [model.name for model in found(tmp_path / "root")] == ["p/r:Q8_0"]


def test_the_folders_are_those_of_the_pointer_of_the_settings_and_the_default(
    tmp_path: Path,
) -> None:
    write(tmp_path / ".lmstudio-home-pointer", f"{tmp_path}/pointed\n")
    write_json(tmp_path / "pointed" / "settings.json", {"downloadsFolder": "/disk/a"})
    write_json(tmp_path / ".lmstudio" / "settings.json", {"downloadsFolder": "/disk/b"})

    assert [str(folder) for folder in lmstudio_folders(tmp_path)] == [
        "/disk/a",
        "/disk/b",
        f"{tmp_path}/pointed/models",
        f"{tmp_path}/.lmstudio/models",
        f"{tmp_path}/.cache/lm-studio/models",
    ]


@pytest.mark.parametrize(
    "settings", ["", "[]", '{"downloadsFolder": 3}', '{"downloadsFolder": ""}']
)
def test_settings_of_another_shape_are_passed_over(tmp_path: Path, settings: str) -> None:
    write(tmp_path / ".lmstudio" / "settings.json", settings)

    assert lmstudio_folders(tmp_path) == [
        tmp_path / ".lmstudio" / "models",
        tmp_path / ".cache" / "lm-studio" / "models",
    ]
