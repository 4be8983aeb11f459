from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from localrun.server.anthropic.request import parse_call, parse_count
from localrun.server.parsing.fields import Fields

if TYPE_CHECKING:
    from localrun.server.core.request import CompletionRequest

LOOK = {"name": "look", "input_schema": {"type": "object"}}
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def parsed(**fields: Any) -> CompletionRequest:
    return parse_count(Fields({**BODY, **fields}))


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, "auto"),
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "look"}, "look"),
        ({"type": "none"}, "none"),
    ],
)
def test_the_choice_of_tools_in_our_words(choice: Any, wanted: str) -> None:
    assert parsed(tools=[LOOK], tool_choice=choice).generation.tool_choice == wanted


def test_calls_are_parallel_unless_that_is_disabled() -> None:
    disabled = {"type": "auto", "disable_parallel_tool_use": True}

    assert parsed(tools=[LOOK]).generation.parallel_tool_calls
    assert not parsed(tools=[LOOK], tool_choice=disabled).generation.parallel_tool_calls


def test_a_thought_has_the_budget_that_it_is_given() -> None:
    assert (
        parsed(thinking={"type": "enabled", "budget_tokens": 2000}).generation.thinking_budget
        == 2000
    )
    assert parsed(thinking={"type": "adaptive"}).generation.thinking_budget is None


def test_no_stop_sequences_leave_those_of_the_recipe() -> None:
    assert parsed(stop_sequences=[]).stop is None
    assert parsed(stop_sequences=["END"]).stop == ("END",)


def test_what_is_left_out_is_left_to_the_recipe() -> None:
    call = parse_call(Fields({**BODY, "max_tokens": 7}))

    assert (call.stream, call.request.num_predict, call.request.sampling) == (False, 7, {})
    assert (call.request.num_ctx, call.request.keep_alive, call.request.overflow) == (None,) * 3
