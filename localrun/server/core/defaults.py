"""Defaults of requests from the recipe of their model.

A field of the request overrides the recipe, also with a value that disables something; an absent
field does not. A recipe from another tool may contain anything: a parameter that cannot be parsed
is ignored with a warning, and the model still runs.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from localrun.engine.params import OverflowPolicy, SamplingParams
from localrun.errors import UsageError
from localrun.server.parsing.fields import Fields, shown
from localrun.server.parsing.limits import LONGEST_STOP, MAX_STOPS
from localrun.server.parsing.options import keep_alive, overflow, sampling
from localrun.services.recipes import to_jinja

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Generation, JsonObject, PromptSpec
    from localrun.services.recipes import StoredRecipe
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.model import KeepAlive

LISTS = {"stop", "dry_sequence_breakers"}
T = TypeVar("T")
_log = logging.getLogger(__name__)


def sampling_of(recipe: StoredRecipe, requested: JsonObject) -> SamplingParams:
    """Return the sampling parameters of a request, which sets some of the fields."""
    return SamplingParams(**(recipe_sampling(recipe) | requested))


def recipe_sampling(recipe: StoredRecipe) -> JsonObject:
    """Return the sampling parameters that a recipe sets, and no others.

    A parameter that cannot be parsed is left out with a warning.
    """
    known: JsonObject = {}
    for name, value in _known(recipe).items():
        known |= _understood(recipe, name, partial(sampling, Fields({name: value}))) or {}
    return known


def num_predict_of(
    recipe: StoredRecipe, requested: int | None, default: int | None = None
) -> int | None:
    """Return the most tokens to generate, or None for as many as the context holds."""
    if requested is not None:
        return requested if requested >= 0 else None
    own = _integer(recipe, "num_predict")
    if own is None:
        return default
    return own if own > 0 else None


def keep_alive_of(recipe: StoredRecipe, requested: KeepAlive | None) -> KeepAlive | None:
    """Return the keep-alive of the model, or None for the server's default."""
    if requested is not None:
        return requested
    parsed = _understood(recipe, "keep_alive", lambda: keep_alive(Fields(_known(recipe))))
    return None if parsed is None else replace(parsed, source="recipe")


def stop_of(recipe: StoredRecipe, requested: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the stop strings; of a recipe, at most as many as a request may have."""
    if requested is not None:
        return requested
    kept = tuple(text for text in recipe.stop if len(text) <= LONGEST_STOP)[:MAX_STOPS]
    if len(kept) < len(recipe.stop):
        _log.warning("%s stop strings of the recipe are left out", len(recipe.stop) - len(kept))
    return kept


def overflow_of(
    recipe: StoredRecipe,
    requested: OverflowPolicy | None,
    num_keep: int | None,
    default: OverflowPolicy | None = None,
) -> OverflowPolicy:
    """Return the policy for a full context."""
    policy = requested or _understood(
        recipe, "overflow", lambda: overflow(Fields({"overflow": recipe.parameter("overflow")}))
    )
    kept = _integer(recipe, "num_keep") if num_keep is None else num_keep
    return replace(policy or default or OverflowPolicy(), num_keep=kept)


def generation_of(model: StoredModel, generation: Generation) -> Generation:
    """Return the options of a request with the messages and the template of the model's recipe.

    Messages that continue a ``context`` get none of the recipe's: the context begins with them.
    """
    messages = generation.prompt.messages
    prompt = prompt_of(model, generation.prompt)
    if generation.context:
        prompt = replace(prompt, messages=messages)
    if generation.tool_choice == "none":
        prompt = replace(prompt, tools=())
    return replace(generation, prompt=prompt)


def prompt_of(model: StoredModel, prompt: PromptSpec) -> PromptSpec:
    """Return a prompt with the messages and the template of the model's recipe.

    Raises:
        UsageError: the prompt's own template cannot be read.
    """
    template = prompt.chat_template
    return replace(
        prompt,
        messages=messages_of(model.recipe, prompt.messages),
        chat_template=to_jinja(template) if template else model.chat_template,
    )


def messages_of(
    recipe: StoredRecipe, requested: tuple[JsonObject, ...] | None
) -> tuple[JsonObject, ...] | None:
    """Return the recipe's messages, then the request's.

    The recipe's system text comes first, unless the request or the recipe has a system message.
    """
    if requested is None:
        return None
    first = tuple({"role": role, "content": text} for role, text in recipe.messages)
    own_system = requested[:1] if requested and requested[0].get("role") == "system" else ()
    remaining = requested[len(own_system) :]
    if own_system and first and first[0]["role"] == "system":
        first = first[1:]
    has_system = bool(first) and first[0]["role"] == "system"
    if not own_system and not has_system and recipe.system:
        own_system = ({"role": "system", "content": recipe.system},)
    return (*own_system, *first, *remaining)


def _known(recipe: StoredRecipe) -> JsonObject:
    """Return the parameters as one object; a repeated one is a list."""
    known: JsonObject = {}
    for name, value in recipe.parameters:
        if name in LISTS:
            known.setdefault(name, []).append(value)
        else:
            known[name] = value
    return known


def _integer(recipe: StoredRecipe, name: str) -> int | None:
    return _understood(recipe, name, lambda: Fields(_known(recipe)).integer(name))


def _understood(recipe: StoredRecipe, name: str, read: Callable[[], T]) -> T | None:
    """Return the value of ``read``, or None with a warning if it cannot be parsed."""
    try:
        return read()
    except (UsageError, ValueError):
        _log.warning("the parameter %s %s is left out", name, shown(recipe.parameter(name)))
        return None
