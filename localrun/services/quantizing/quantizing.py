"""A quantized copy of a model under a name of its own, with the model's recipe and adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.quantizing.types import QUANTIZATIONS, quantization
from localrun.errors import ModelNameError, UsageError
from localrun.modelfile.recipe import Recipe
from localrun.names.parse import parse_name
from localrun.names.ref import DEFAULT_TAG, ModelSource
from localrun.services.creating.create import CreateOptions, create_model
from localrun.services.quantizing.imatrix import plain_model
from localrun.services.show import base_name

if TYPE_CHECKING:
    from localrun.engine.quantizing.choices import QuantizeOptions
    from localrun.names.ref import ModelRef
    from localrun.services.creating.create import Created
    from localrun.services.progress import ProgressReport
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace

# the longest first: q4_k_m-like ends before q4_k
TYPE_ENDS = sorted((kind.name.lower() for kind in QUANTIZATIONS), key=len, reverse=True)
SEPARATORS = "-_."


def quantize_model(
    workspace: Workspace,
    name: str,
    type_name: str,
    *,
    new_name: str | None,
    options: QuantizeOptions,
    report: ProgressReport,
) -> Created:
    """Create a copy of a model of this machine whose weights are quantized.

    Without ``new_name`` the type is added to the model's tag; another model of that name is kept.

    Raises:
        ModelNotFoundError: the model is not on this machine.
        UsageError: a name, the type or an option is not valid, or the new name is taken.
        IntegrityError: a file is damaged, or the importance matrix belongs to another model.
        StorageError: the disk is full.
        BackendError: llama.cpp fails.
    """
    kind = quantization(type_name)
    model = plain_model(workspace, name)
    ref = parse_name(new_name) if new_name else default_name(model, kind.name)
    if not new_name:
        _refuse_taken(workspace, ref, base_name(model))
    recipe = Recipe(sources=(base_name(model),))
    return create_model(
        workspace,
        ref,
        recipe,
        folder=Path.cwd(),
        options=CreateOptions(quantize=kind.name, quantize_options=options),
        report=report,
    )


def default_name(model: StoredModel, type_name: str) -> ModelRef:
    """Return the name of a quantized copy: ``qwen3:4b`` becomes ``qwen3:4b-q4_k_m``.

    Raises:
        UsageError: no name can be made of the model's.
    """
    ref, ending = parse_name(model.name), type_name.lower()
    if ref.source is ModelSource.FILE:
        text = f"{_without_type(model.shards[0].stem)}:{ending}"
    else:
        tag = "" if ref.tag == DEFAULT_TAG or ref.file else _without_type(ref.tag)
        repo = f"{ref.namespace}/{ref.model}" if ref.source is ModelSource.LOCAL else ref.model
        repo = repo.removeprefix("None/")
        text = f"{repo}:{tag}-{ending}" if tag else f"{repo}:{ending}"
    try:
        return parse_name(text.lower())
    except ModelNameError as error:
        raise UsageError(
            f"{model.name} needs a name for its copy", hint="--name NEW   sets it"
        ) from error


def _without_type(text: str) -> str:
    """Return a tag or a file's stem without the type of its weights at the end."""
    for end in TYPE_ENDS:
        if text.lower().endswith(end):
            return text[: -len(end)].rstrip(SEPARATORS)
    return text


def _refuse_taken(workspace: Workspace, ref: ModelRef, base: str) -> None:
    """Refuse to replace a model that is no earlier result of the same command."""
    entry = workspace.store.find(ref)
    if entry is not None and entry.ref.base != base:
        raise UsageError(
            f"{ref} is another model already", hint="--name NEW   gives the copy another name"
        )
