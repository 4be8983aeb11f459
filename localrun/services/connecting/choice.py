"""Choice of a model for each role of a tool, among the models of a server.

Chat and edit: the largest model that fits with the context that the tool needs, one that calls
tools if the tool is an agent. Autocomplete: the smallest that fills gaps, one for code first.
Embed: the smallest embedding model. What the user names, or used for the tool before, comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import ModelNotFoundError, UsageError
from localrun.integrations.target import ModelRole
from localrun.services.connecting.served import find_served

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.integrations.tool import Integration
    from localrun.services.connecting.served import ContextPlanner, ServedModel

CODE_NAMES = ("code", "starcoder", "devstral")
CAPABILITY = {
    ModelRole.CHAT: "completion",
    ModelRole.EDIT: "completion",
    ModelRole.AUTOCOMPLETE: "insert",
    ModelRole.EMBED: "embedding",
}
PARAMETER = {role: f"--{role.value}" for role in ModelRole} | {ModelRole.CHAT: "--model"}
MOST_PLANS = 20  # of the machine, each reads a header


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The chosen model of each role; roles without one are missing."""

    models: Mapping[ModelRole, ServedModel]

    @property
    def chat(self) -> ServedModel:
        """Return the model for chat."""
        return self.models[ModelRole.CHAT]


def choose_models(
    tool: Integration,
    models: Sequence[ServedModel],
    wanted: Mapping[ModelRole, str],
    planner: ContextPlanner,
) -> Choices:
    """Return a model for each role of a tool.

    Raises:
        ModelNotFoundError: a wanted model, or one for chat, does not exist.
        UsageError: a wanted model cannot do what its role needs.
    """
    chosen: dict[ModelRole, ServedModel] = {}
    for role in (ModelRole.CHAT, *(role for role in tool.roles if role is not ModelRole.CHAT)):
        if role in wanted:
            chosen[role] = _wanted(models, wanted[role], role)
        elif role is ModelRole.CHAT:
            chosen[role] = best_chat_model(tool.needs_tools, tool.context, models, planner)
        elif role is ModelRole.EDIT:
            chosen[role] = chosen[ModelRole.CHAT]
        elif candidates := [model for model in models if CAPABILITY[role] in model.capabilities]:
            chosen[role] = min(candidates, key=_small_first)
    return Choices(models=chosen)


def best_chat_model(
    needs_tools: bool,  # noqa: FBT001 - a fact about the tool, not a switch
    context: int,
    models: Sequence[ServedModel],
    planner: ContextPlanner,
) -> ServedModel:
    """Return the largest model that fits with a context; if none does, the likeliest to serve.

    Raises:
        ModelNotFoundError: the server has no model that writes text.
    """
    writers = [model for model in models if "completion" in model.capabilities]
    if not writers:
        raise ModelNotFoundError("the server has no model for chat", hint="localrun pull qwen3:4b")
    suitable = suitable_models(writers, context, needs_tools=needs_tools)
    for model in suitable[:MOST_PLANS]:
        if planner.plan(model, context).fits:
            return model
    fallback = suitable or [model for model in writers if "tools" in model.capabilities] or writers
    return min(fallback, key=lambda model: (model.loaded_context is None, model.size_bytes))


def suitable_models(
    models: Sequence[ServedModel], context: int, *, needs_tools: bool
) -> list[ServedModel]:
    """Return the models with a trained context, loaded ones of a size first, then by size."""
    suitable = [
        model
        for model in models
        if "completion" in model.capabilities
        and model.trained_context >= context
        and ("tools" in model.capabilities or not needs_tools)
    ]
    return sorted(suitable, key=lambda model: (-model.size_bytes, model.name))


def _wanted(models: Sequence[ServedModel], name: str, role: ModelRole) -> ServedModel:
    model = find_served(models, name)
    if CAPABILITY[role] not in model.capabilities:
        able = [other.name for other in models if CAPABILITY[role] in other.capabilities]
        hint = f"{PARAMETER[role]} {able[0]}" if able else f"without {PARAMETER[role]}"
        raise UsageError(
            f"{model.name} cannot be used for {role.value}: it lacks the capability "
            f"{CAPABILITY[role]}",
            hint=hint,
        )
    return model


def _small_first(model: ServedModel) -> tuple[bool, int, str]:
    is_general = not any(word in model.name.lower() for word in CODE_NAMES)
    return is_general, model.size_bytes, model.name
