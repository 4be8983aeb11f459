"""Model of a chat: the recipe that ``/save`` creates, and what a recipe cannot keep.

    FROM guide              the chat's model
    ADAPTER ./pirate.gguf   its adapters
    SYSTEM, PARAMETER       its settings
    MESSAGE user Hello      its messages, after those of the model's own recipe

Knows neither terminal nor server. Invariant: a recipe has every text of the user and of the model
that the chat has; what is left out is listed for the user.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.cli.output import counted
from localrun.errors import LocalrunError, ModelNotFoundError, UsageError
from localrun.modelfile.known import LISTS
from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage
from localrun.names.adapters import split_adapters
from localrun.names.parse import parse_name
from localrun.services.creating.create import create_model
from localrun.services.recipes import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localrun.modelfile.parameters import ParameterValue
    from localrun.services.creating.create import Created
    from localrun.services.workspace import Workspace

LARGEST = MAX_TEXT // 2  # bytes of all messages: they are escaped in the store


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatToSave:
    """What ``/save`` makes a model of."""

    model: str  # with its adapters: guide+pirate@0.8
    system: str | None = None
    parameters: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]]  # as they are sent
    other_settings: Sequence[str] = ()  # that are set and that no recipe has, such as "format"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedChat:
    """Model that was created of a chat."""

    created: Created
    left_out: tuple[str, ...]  # what a recipe does not keep


def save_chat(workspace: Workspace, name: str, chat: ChatToSave) -> SavedChat:
    """Create a model of a chat under a name.

    Raises:
        ModelNameError: the name is none.
        UsageError: the chat is too long for a recipe.
        LocalrunError: the model of the chat is gone, or the disk is full.
    """
    recipe = chat_recipe(workspace, chat)
    created = create_model(workspace, parse_name(name), recipe, folder=Path.cwd())
    return SavedChat(created=created, left_out=tuple(_left_out(chat)))


def is_taken(workspace: Workspace, name: str) -> bool:
    """Return whether a model has this name, even a damaged one.

    Raises:
        ModelNameError: the name is none.
    """
    parse_name(name)
    try:
        workspace.models.find_model(name)
    except ModelNotFoundError:
        return False
    except LocalrunError:  # damaged
        return True
    return True


def chat_recipe(workspace: Workspace, chat: ChatToSave) -> Recipe:
    """Return the recipe of a chat.

    Raises:
        UsageError: the chat is too long for a recipe.
        LocalrunError: its model does not exist any more.
    """
    base, _ = split_adapters(chat.model)
    model, plain = workspace.models.find_model(chat.model), workspace.models.find_model(base)
    own = tuple(
        RecipeMessage(role=_role(role), content=text) for role, text in plain.recipe.messages
    )
    messages = recipe_messages(chat.messages)
    adapters = model.adapters[len(plain.adapters) :]
    recipe = Recipe(
        sources=(base,),
        adapters=tuple(AdapterUse(path=str(path), scale=scale) for path, scale in adapters),
        system=chat.system,
        parameters=tuple(_parameters(chat.parameters)),
        messages=(*own, *messages) if messages else (),
    )
    _check_size(recipe)
    return recipe


def recipe_messages(messages: Sequence[Mapping[str, Any]]) -> tuple[RecipeMessage, ...]:
    """Return the texts of messages; texts of one author in a row become one message."""
    texts: list[tuple[str, str]] = []
    for message in messages:
        role, text = message["role"], str(message.get("content") or "")
        if role == "tool" or not text:
            continue
        if texts and texts[-1][0] == role:
            texts[-1] = (role, f"{texts[-1][1]}\n\n{text}")
        else:
            texts.append((role, text))
    return tuple(RecipeMessage(role=_role(role), content=text) for role, text in texts)


def _role(role: str) -> Any:  # noqa: ANN401 - a literal of RecipeMessage
    return role if role in {"system", "user", "assistant"} else "user"


def _parameters(parameters: Mapping[str, Any]) -> Iterator[tuple[str, ParameterValue]]:
    for name, value in parameters.items():
        if name in LISTS:
            yield from ((name, text) for text in ([value] if isinstance(value, str) else value))
        elif value is not None:
            yield name, value


def _check_size(recipe: Recipe) -> None:
    texts = [recipe.system or "", *(one.content for one in recipe.messages)]
    if len(json.dumps(texts, ensure_ascii=False).encode()) > LARGEST:
        raise UsageError(
            "the chat is too long for a model", hint="/compact, or /export md FILE   keeps its text"
        )


def _left_out(chat: ChatToSave) -> Iterator[str]:
    """Yield what a recipe does not keep, for the user."""
    num_results = sum(one["role"] == "tool" for one in chat.messages)
    num_images = sum(len(one.get("images") or ()) for one in chat.messages)
    if num_results:
        yield counted(num_results, "result") + " of tools"
    if num_images:
        yield counted(num_images, "image")
    yield from chat.other_settings
