"""Recipes of remote models."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, UsageError
from localrun.modelfile.parse import parse_modelfile
from localrun.names.parse import parse_name
from localrun.services.creating.create import CreateOptions, create_model
from localrun.services.creating.recipe_files import lint_recipe
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.store.archive import export_model, import_archive

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.creating.create import Created

FROM = "FROM remote+http://127.0.0.1:9/v1/m#engine=vllm\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path)


def workspace_in(folder: Path) -> Workspace:
    settings = Settings(
        log_dir=folder, models_dir=folder / "models", prompts_dir=folder / "cache" / "prompts"
    )
    return Workspace(settings, {}, folder)


def create(
    workspace: Workspace, text: str, name: str = "big", options: CreateOptions | None = None
) -> Created:
    recipe = parse_modelfile(text.encode())
    return create_model(workspace, parse_name(name), recipe, folder=workspace.home, options=options)


def test_the_recipe_of_a_remote_model_holds(workspace: Workspace) -> None:
    create(
        workspace,
        FROM + 'SYSTEM Be brief.\nPARAMETER temperature 0.5\nPARAMETER stop "END"\n'
        "MESSAGE user hi\nMESSAGE assistant hello\nLICENSE mine\n",
    )

    recipe = workspace.models.find_model("big").recipe
    assert recipe.system == "Be brief."
    assert recipe.parameters == (("temperature", 0.5), ("stop", "END"))
    assert recipe.messages == (("user", "hi"), ("assistant", "hello"))


def test_a_remote_model_can_be_the_base_of_another(workspace: Workspace) -> None:
    create(workspace, FROM + "SYSTEM one\n")
    create(workspace, "FROM big\nSYSTEM two\n", "derived")
    same = create(workspace, "FROM big\n", "same")

    derived = workspace.models.find_model("derived")
    assert derived.remote == workspace.models.find_model("big").remote
    assert derived.recipe.system == "two"
    assert same.manifest == workspace.models.find_model("big").digest


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ADAPTER ./a.gguf", "ADAPTER has no effect"),
        ("DRAFT guide", "DRAFT has no effect"),
        ("TEMPLATE {{ messages }}", "TEMPLATE has no effect"),
        ("PARAMETER num_ctx 4096", "PARAMETER num_ctx has no effect"),
        ("PARAMETER num_gpu 3", "PARAMETER num_gpu has no effect"),
        ("FROM guide", "cannot be combined"),
    ],
)
def test_what_needs_the_weights_is_refused_by_name(
    line: str, words: str, workspace: Workspace
) -> None:
    create(workspace, FROM, "base")

    with pytest.raises(UsageError, match=words):
        create(workspace, f"{FROM}{line}\n")
    with pytest.raises(UsageError, match="second model" if line.startswith("FROM") else words):
        create(workspace, f"FROM base\n{line}\n")


def test_nothing_is_quantized(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="--quantize needs weights"):
        create(workspace, FROM, options=CreateOptions(quantize="Q4_K_M"))


def test_lint_checks_the_line_and_asks_nobody(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "Modelfile"
    file.write_text(FROM)
    assert lint_recipe(workspace, str(file), {}) == []

    file.write_text("FROM remote+https://gpu1/v1\n")

    assert "names no model" in lint_recipe(workspace, str(file), {})[0].message


def test_a_remote_model_is_accepted_from_no_archive(workspace: Workspace, tmp_path: Path) -> None:
    create(workspace, FROM)
    archive = io.BytesIO()
    entry = workspace.store.find(parse_name("big"))
    assert entry is not None
    export_model(workspace.store, entry, archive)
    archive.seek(0)

    with pytest.raises(IntegrityError, match="accepted from nobody else"):
        import_archive(workspace_in(tmp_path / "other").store, archive, is_forced=True)
