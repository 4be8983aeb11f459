"""Parameters of requests to a model: their meaning, their value, and who set it.

A request may set each of them; one that it leaves out has the value of the model's recipe, else
the default.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from localrun.modelfile.known import KNOWN
from localrun.modelfile.recipe import Recipe
from localrun.modelfile.write import write_modelfile
from localrun.server.core.defaults import num_predict_of, sampling_of, stop_of
from localrun.server.parsing.options import SAMPLING

if TYPE_CHECKING:
    from localrun.modelfile.known import ParameterSpec
    from localrun.runner.messages import JsonObject
    from localrun.services.recipes import StoredRecipe
    from localrun.services.stored_model import StoredModel

OTHERS = ("num_predict", "num_ctx", "stop", "dry_sequence_breakers")
FIRST = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed", "num_predict", "stop")


def describe_parameters(model: StoredModel) -> JsonObject:
    """Return the parameters of requests to a model, the most used first."""
    names = dict.fromkeys((*FIRST, "num_ctx", *SAMPLING, *OTHERS))
    values = _values(model.recipe)
    return {
        "model": model.name,
        "recipe": _recipe_on(model),
        "system": model.recipe.system or "",
        "parameters": [_described(KNOWN[name], model.recipe, values[name]) for name in names],
    }


def _recipe_on(model: StoredModel) -> str:
    """Return a Modelfile for a model that is based on this one, with its own values to change."""
    recipe = model.recipe
    own = tuple(pair for pair in recipe.parameters if pair[0] in KNOWN)
    return write_modelfile(Recipe(sources=(model.name,), system=recipe.system, parameters=own))


def _values(recipe: StoredRecipe) -> JsonObject:
    """Return the value of each parameter that a request leaves out; None: chosen by the server."""
    sampling = sampling_of(recipe, {})
    values: JsonObject = {field.name: getattr(sampling, field.name) for field in fields(sampling)}
    values["dry_sequence_breakers"] = list(sampling.dry_sequence_breakers)
    values["num_predict"] = num_predict_of(recipe, None)
    values["num_ctx"] = recipe.parameter("num_ctx") or None
    values["stop"] = list(stop_of(recipe, None))
    return values


def _described(spec: ParameterSpec, recipe: StoredRecipe, value: object) -> JsonObject:
    is_number = spec.kind in {"int", "float"}
    is_own = recipe.parameter(spec.name) is not None
    return {
        "name": spec.name,
        "kind": spec.kind,
        "about": spec.about,
        "low": spec.low if is_number else None,
        "high": spec.high if is_number else None,
        "value": value,
        "source": "recipe" if is_own else "default",
    }
