"""Where the tools keep their models."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pytest

from localrun.store.foreign.folders import (
    OLLAMA_SYSTEM_FOLDERS,
    ForeignTool,
    default_folders,
    find_foreign_models,
)
from tests.store.foreign.layouts import WEIGHTS, sha256, without_change, write, write_json

HOME = Path("/home/someone")


@pytest.mark.parametrize(
    ("tool", "environ", "folders"),
    [
        (ForeignTool.OLLAMA, {"OLLAMA_MODELS": "/disk/ollama"}, ["/disk/ollama"]),
        (ForeignTool.OLLAMA, {"OLLAMA_MODELS": "~/m"}, ["/home/someone/m"]),
        (
            ForeignTool.OLLAMA,
            {"OLLAMA_MODELS": " "},
            ["/home/someone/.ollama/models", *map(str, OLLAMA_SYSTEM_FOLDERS)],
        ),
        (
            ForeignTool.HUGGINGFACE,
            {"HF_HUB_CACHE": "/a", "HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"},
            ["/a"],
        ),
        (ForeignTool.HUGGINGFACE, {"HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"}, ["/b"]),
        (ForeignTool.HUGGINGFACE, {"HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}, ["/c/hub"]),
        (ForeignTool.HUGGINGFACE, {"XDG_CACHE_HOME": "/d"}, ["/d/huggingface/hub"]),
        (ForeignTool.HUGGINGFACE, {}, ["/home/someone/.cache/huggingface/hub"]),
        (
            ForeignTool.LMSTUDIO,
            {},
            ["/home/someone/.lmstudio/models", "/home/someone/.cache/lm-studio/models"],
        ),
        (ForeignTool.LLAMACPP, {"LLAMA_CACHE": "/e", "HF_HOME": "/c"}, ["/e"]),
        (
            ForeignTool.LLAMACPP,
            {"LOCALAPPDATA": "/local"},
            [
                "/home/someone/.cache/llama.cpp",
                "/home/someone/Library/Caches/llama.cpp",
                "/local/llama.cpp",
                "/home/someone/.cache/huggingface/hub",
            ],
        ),
    ],
)
def test_a_tool_keeps_its_models_where_its_variables_say(
    tool: ForeignTool, environ: dict[str, str], folders: list[str]
) -> None:
    assert [str(folder) for folder in default_folders(tool, environ, HOME)] == folders


def test_every_tool_is_found_by_its_own_name(tmp_path: Path) -> None:
    digest = sha256(WEIGHTS)
    write(tmp_path / "ollama" / "blobs" / f"sha256-{digest}")
    write_json(
        tmp_path / "ollama" / "manifests" / "registry.ollama.ai" / "library" / "m" / "latest",
        {
            "layers": [
                {
                    "mediaType": "application/vnd.ollama.image.model",
                    "digest": f"sha256:{digest}",
                }
            ]
        },
    )
    write(tmp_path / "hf" / "models--o--r" / "snapshots" / "x" / "m-Q8_0.gguf")
    write(tmp_path / ".lmstudio" / "models" / "p" / "r" / "m-Q8_0.gguf")
    write(tmp_path / "llama" / "m.gguf")
    environ = {
        "OLLAMA_MODELS": str(tmp_path / "ollama"),
        "HF_HUB_CACHE": str(tmp_path / "hf"),
        "LLAMA_CACHE": str(tmp_path / "llama"),
    }

    for tool in ForeignTool:
        find = partial(find_foreign_models, tool, environ, tmp_path)
        models = without_change(tmp_path, find)
        assert [model.tool for model in models] == [tool.value]


def test_of_two_models_with_one_name_the_first_is_taken(tmp_path: Path) -> None:
    first = write(tmp_path / ".lmstudio" / "models" / "p" / "r" / "m-Q8_0.gguf")
    write(tmp_path / ".cache" / "lm-studio" / "models" / "p" / "r" / "m-Q8_0.gguf")
    write(tmp_path / ".cache" / "lm-studio" / "models" / "p" / "r" / "m-Q4_0.gguf")

    models = find_foreign_models(ForeignTool.LMSTUDIO, {}, tmp_path)

    assert [model.name for model in models] == ["p/r:Q8_0", "p/r:Q4_0"]
    assert models[0].files[0].path == first.resolve()


def test_a_folder_that_cannot_be_read_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = tmp_path / ".lmstudio" / "models"
    loop.parent.mkdir()
    loop.symlink_to(loop)
    write(tmp_path / ".cache" / "lm-studio" / "models" / "p" / "r" / "m-Q8_0.gguf")

    models = find_foreign_models(ForeignTool.LMSTUDIO, {}, tmp_path)

    assert [model.name for model in models] == ["p/r:Q8_0"]
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(loop) in warning.getMessage()


def test_a_folder_named_by_nonsense_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / ".lmstudio" / "settings.json", '{"downloadsFolder": "\\u0000\\ud800"}')

    assert find_foreign_models(ForeignTool.LMSTUDIO, {}, tmp_path) == []
