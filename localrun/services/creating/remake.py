"""Recipe that recreates a model, found by creating it from the files of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.modelfile.recipe import Recipe
from localrun.modelfile.write import write_modelfile
from localrun.names.parse import parse_name
from localrun.services.creating.create import gather_recipe, write_manifest
from localrun.services.creating.parts import PartCollector
from localrun.services.progress import SilentReport
from localrun.services.show import adapter_uses, base_name, entry_of, recipe_by_files, recipe_fields
from localrun.store.blobs import digest_of
from localrun.store.store import embedded_models

if TYPE_CHECKING:
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace
    from localrun.store.store import Entry


def recipe_text(workspace: Workspace, name: str) -> str:
    """Return a Modelfile from which ``create`` makes the same manifest.

    FROM names the base if that still yields the same model, else the exact files.

    Raises:
        ModelNotFoundError: the model does not exist.
    """
    model = workspace.models.find_model(name)
    entry = entry_of(workspace, name)
    if entry is None:
        return write_modelfile(Recipe(sources=(base_name(model),)))
    head = f"# {entry.ref.name}"
    for recipe in _candidates(workspace, model, entry):
        if _makes(workspace, recipe, entry):
            return f"{head}\n{write_modelfile(recipe)}"
    return f"{head}\n{write_modelfile(recipe_by_files(model, entry))}"


def _candidates(workspace: Workspace, model: StoredModel, entry: Entry) -> list[Recipe]:
    """Return recipes that may create the model, the most readable first."""
    if model.remote is not None:
        return [recipe_by_files(model, entry)]
    fields, adapters = recipe_fields(model), adapter_uses(model, entry)
    names = [
        name for name in (entry.ref.base, entry.ref.origin) if name and _is_here(workspace, name)
    ]
    return [
        *(Recipe(sources=(name,), **fields) for name in names),
        *(Recipe(sources=(name,), adapters=adapters, **fields) for name in names if adapters),
        recipe_by_files(model, entry),
        Recipe(sources=(f"{entry.ref.name}@{entry.ref.manifest}",), **fields),
    ]


def _is_here(workspace: Workspace, name: str) -> bool:
    """Return whether a name can be a base without network access."""
    ref = parse_name(name)
    return workspace.store.find(ref) is not None or str(ref).lower() in embedded_models()


def _makes(workspace: Workspace, recipe: Recipe, entry: Entry) -> bool:
    """Return whether a recipe yields the exact manifest of a model."""
    try:
        with workspace.store.lease() as lease:
            collector = PartCollector(workspace, lease, SilentReport(), folder=Path("/"))
            manifest = write_manifest(collector, *gather_recipe(collector, recipe))
    except LocalrunError:  # the base has changed since, or the store is read-only
        return False
    return digest_of(manifest) == entry.ref.manifest
