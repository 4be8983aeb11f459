"""Names and paths that no file can have are refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import LocalrunError, ModelNameError, ModelNotFoundError, UsageError
from localrun.names.adapters import split_adapters
from localrun.names.parse import local_path, parse_name
from localrun.services.workspace import Workspace
from localrun.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "~nosuchuser/x.gguf"
LONG = "x" * 300


@pytest.mark.parametrize(
    "name",
    [
        "x" * 5000,
        LONG,
        "a/" * 200 + "b",
        f"host.example/{'a/' * 200}b:c",
        f"hf.co/owner/repo/{'é' * 130}.gguf",
        f"hf.co/owner/repo/{LONG}.gguf",
        "https://host.example/" + "x" * 5000,
        "guide+" + "+".join("a" * 100),
    ],
)
def test_a_name_that_is_too_long_is_refused_in_few_words(name: str) -> None:
    with pytest.raises(ModelNameError) as caught:
        parse_name(split_adapters(name)[0])

    assert len(caught.value.message) < 300


@pytest.mark.parametrize("name", ["模" * 100, "%E6%A8%A1" * 40, "x" * 400, "." * 300])
def test_the_file_names_of_an_address_are_short(name: str) -> None:
    key = parse_name(f"https://host.example/{name}.gguf").key

    assert all(0 < len(part.encode()) <= 255 for part in key)


@pytest.mark.parametrize("text", [NOBODY, f"./{LONG}.gguf", "/" + "x/" * 3000, "a\0b"])
def test_a_path_that_no_file_can_have_is_not_found(text: str) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file"):
        local_path(text)


def test_a_path_where_nothing_is_or_nobody_may_look_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert local_path(f"{tmp_path}/none/at/all") == tmp_path / "none/at/all"
    assert local_path(f"{tmp_path}/file/below") == tmp_path / "file/below"


@pytest.mark.parametrize(
    "name",
    [
        NOBODY,
        f"guide+{NOBODY}",
        f"./{LONG}.gguf",
        f"guide+./{LONG}.gguf",
        "guide+a\0.gguf",
        "~/\0.gguf",
        f"{LONG}.gguf",
    ],
)
def test_a_model_of_such_a_path_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    settings = Settings(log_dir=tmp_path, models_dir=tmp_path / "models")

    with pytest.raises(LocalrunError) as caught:
        Workspace(settings, {}).models.find_model(name)

    assert caught.value.http_status in {400, 404}


@pytest.mark.parametrize(
    "variable",
    ["LOCALRUN_MODELS", "LOCALRUN_CACHE", "LOCALRUN_EXTRA_MODELS", "LOCALRUN_API_KEY_FILE"],
)
def test_a_variable_with_the_home_of_nobody_is_named(variable: str) -> None:
    with pytest.raises(UsageError, match=variable):
        load_settings({variable: "~nosuchuser/models"})
