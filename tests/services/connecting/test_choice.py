from __future__ import annotations

from typing import cast

import pytest

from localrun.errors import ModelNotFoundError, UsageError
from localrun.integrations.target import ModelRole
from localrun.integrations.tool import Integration
from localrun.services.connecting.choice import choose_models
from localrun.services.connecting.served import ContextPlan, ContextPlanner, ServedModel

ALL_ROLES = Integration(
    name="t", title="T", checked="", roles=tuple(ModelRole), needs_tools=True, context=8192
)


class MemoryOf:
    """A planner of a machine in which models up to a size fit."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes

    def plan(self, model: ServedModel, num_ctx: int | None = None) -> ContextPlan:
        context = num_ctx or model.trained_context
        return ContextPlan(context=context, fits=model.size_bytes <= self._most_bytes)


def served(name: str, *capabilities: str, size: int = 1, context: int = 32768) -> ServedModel:
    return ServedModel(
        name=name, capabilities=capabilities, size_bytes=size, trained_context=context
    )


def chosen(
    models: list[ServedModel], wanted: dict[ModelRole, str] | None = None, most_bytes: int = 100
) -> dict[ModelRole, str]:
    planner = cast("ContextPlanner", MemoryOf(most_bytes))
    choices = choose_models(ALL_ROLES, models, wanted or {}, planner)
    return {role: model.name for role, model in choices.models.items()}


AGENT, BIG = (
    served("agent", "completion", "tools", size=50),
    served("big", "completion", "tools", size=500),
)
CHATTER = served("chatter", "completion", size=60)


def test_the_largest_agent_that_fits_is_chosen() -> None:
    assert chosen([CHATTER, AGENT, BIG])[ModelRole.CHAT] == "agent"
    assert chosen([CHATTER, AGENT, BIG], most_bytes=1000)[ModelRole.CHAT] == "big"


def test_a_model_with_a_short_context_is_the_last_resort() -> None:
    short = served("short", "completion", "tools", size=70, context=2048)

    assert chosen([short, AGENT])[ModelRole.CHAT] == "agent"
    assert chosen([short, CHATTER])[ModelRole.CHAT] == "short"
    assert chosen([CHATTER])[ModelRole.CHAT] == "chatter"


def test_roles_get_models_that_can_do_them() -> None:
    models = [
        AGENT,
        served("filler", "completion", "insert", size=3),
        served("coder", "completion", "insert", size=7),
        served("embed-large", "embedding", size=9),
        served("embed-small", "embedding", size=2),
    ]

    assert chosen(models) == {
        ModelRole.CHAT: "agent",
        ModelRole.EDIT: "agent",
        ModelRole.AUTOCOMPLETE: "coder",
        ModelRole.EMBED: "embed-small",
    }


def test_a_role_without_a_model_is_left_out() -> None:
    assert chosen([AGENT]) == {ModelRole.CHAT: "agent", ModelRole.EDIT: "agent"}


def test_what_the_user_names_comes_first() -> None:
    assert chosen([AGENT, CHATTER], {ModelRole.CHAT: "CHATTER"})[ModelRole.CHAT] == "chatter"


def test_a_named_model_must_exist_and_fit_its_role() -> None:
    with pytest.raises(ModelNotFoundError):
        chosen([AGENT], {ModelRole.CHAT: "missing"})
    with pytest.raises(UsageError, match="embedding"):
        chosen([AGENT], {ModelRole.EMBED: "agent"})


def test_without_a_model_that_writes_there_is_no_chat() -> None:
    with pytest.raises(ModelNotFoundError):
        chosen([served("e", "embedding")])
