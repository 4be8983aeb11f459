"""``/api/show``: the description of a stored model in Ollama's format."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localrun.gguf.data import TENSOR_TYPES
from localrun.gguf.header import SkippedArray, read_headers
from localrun.modelfile.recipe import Recipe
from localrun.modelfile.write import write_modelfile
from localrun.remote.source import format_sources
from localrun.server.ollama.listing import model_details, remote_fields
from localrun.services.show import files_text, recipe_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.gguf.header import Header, Value
    from localrun.remote.model import RemoteModel
    from localrun.runner.messages import JsonObject
    from localrun.services.index.headers import HeaderIndex
    from localrun.services.recipes import StoredRecipe
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace

LONGEST_VOCABULARY = 2_000_000  # items of an array; the reader bounds the bytes
NAME_WIDTH = 30  # of a parameter, as Ollama aligns them


def show_model(workspace: Workspace, name: str, *, is_verbose: bool) -> JsonObject:
    """Return the answer; blocks.

    Raises:
        ModelNotFoundError: no such model.
        IntegrityError: a file of it is damaged.
    """
    model = workspace.models.find_model(name)
    if model.remote is not None:
        return _show_remote(model, model.remote)
    longest_kept = LONGEST_VOCABULARY if is_verbose else 0
    headers, recipe = workspace.models.headers, model.recipe
    metadata = headers.metadata(model.shards[0], longest_kept=longest_kept)
    num_params = sum(headers.facts(shard).num_params for shard in model.shards)
    answer: JsonObject = {
        "modelfile": files_text(workspace, name),
        "template": recipe.template or model.chat_template or "",
        "details": model_details(model),
        "model_info": _model_info(metadata, num_params),
        "capabilities": list(model.details.capabilities),
        "modified_at": model.modified.isoformat(),
    }
    optional: JsonObject = {
        **_recipe_fields(recipe),
        "tensors": _tensors(read_headers(model.shards)) if is_verbose else None,
        "projector_info": _projector_info(headers, model, longest_kept),
        "renderer": recipe.renderer,
        "parser": recipe.parser,
    }
    return answer | {key: value for key, value in optional.items() if value}


def _show_remote(model: StoredModel, remote: RemoteModel) -> JsonObject:
    """Return the answer of a model that another engine answers, without the place of its key."""
    public = replace(remote, key_file=None, key_env=None)
    recipe = Recipe(sources=format_sources(public), **recipe_fields(model))
    context = model.details.context_length
    info: JsonObject = {"general.architecture": model.details.family}
    answer: JsonObject = {
        "modelfile": write_modelfile(recipe),
        "template": "",
        "details": model_details(model),
        "model_info": info
        | ({f"{model.details.family}.context_length": context} if context else {}),
        "capabilities": list(model.details.capabilities),
        "modified_at": model.modified.isoformat(),
        **remote_fields(model),
    }
    return answer | {key: value for key, value in _recipe_fields(model.recipe).items() if value}


def _recipe_fields(recipe: StoredRecipe) -> JsonObject:
    return {
        "license": "\n".join(recipe.licenses),
        "parameters": _parameters(recipe),
        "system": recipe.system,
        "messages": [{"role": role, "content": text} for role, text in recipe.messages],
        "requires": recipe.requires,
    }


def _model_info(metadata: Mapping[str, Value], num_params: int) -> JsonObject:
    """Return the header's pairs; an array that was skipped, such as a vocabulary, is null."""
    info = {key: _plain(value) for key, value in metadata.items()}
    info.pop("tokenizer.chat_template", None)  # it is in "template"
    return {**info, "general.parameter_count": num_params}


def _projector_info(headers: HeaderIndex, model: StoredModel, longest_kept: int) -> JsonObject:
    """Return the header's pairs of the projector; empty if the model has none."""
    if not model.projectors:
        return {}
    path = model.projectors[0]
    metadata = headers.metadata(path, longest_kept=longest_kept)
    return _model_info(metadata, headers.facts(path).num_params)


def _plain(value: Value) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, SkippedArray):
        return None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not -3.5e38 < value < 3.5e38:  # noqa: PLR2004 - NaN too
        return None  # JSON has no such numbers
    return value


def _parameters(recipe: StoredRecipe) -> str:
    lines = (
        f"{name:<{NAME_WIDTH}} {json.dumps(value, ensure_ascii=False)}"
        for name, value in recipe.parameters
    )
    return "\n".join(lines)


def _tensors(header: Header) -> list[JsonObject]:
    return [
        {
            "name": name,
            "type": kind.name if (kind := TENSOR_TYPES.get(tensor.kind)) else f"type {tensor.kind}",
            "shape": list(tensor.sizes),
        }
        for name, tensor in header.tensors.items()
    ]
