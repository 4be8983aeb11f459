from __future__ import annotations

from typing import Any

from localrun.chat.profiles.families import HERMES
from localrun.chat.profiles.grammar import ToolChoice
from localrun.chat.profiles.profile import Profile
from localrun.runner.tool_grammars import MAX_CACHED, ToolGrammars

PROFILE = Profile(tool_call=HERMES)


def tools(name: str) -> tuple[dict[str, Any], ...]:
    return ({"type": "function", "function": {"name": name}},)


def test_the_grammar_of_the_same_tools_is_written_once() -> None:
    grammars = ToolGrammars()

    first = grammars.grammar(PROFILE, tools("f"), ToolChoice(), {})

    assert first is not None
    assert grammars.grammar(PROFILE, tools("f"), ToolChoice(), {}) is first
    assert grammars.grammar(PROFILE, tools("g"), ToolChoice(), {}) != first
    assert grammars.grammar(PROFILE, tools("f"), ToolChoice(mode="required"), {}) != first
    assert grammars.grammar(PROFILE, tools("f"), ToolChoice(), {"<tool_call>": 7}) != first


def test_only_the_grammars_that_were_used_last_are_kept() -> None:
    grammars = ToolGrammars()
    first = grammars.grammar(PROFILE, tools("f"), ToolChoice(), {})

    for number in range(MAX_CACHED):
        grammars.grammar(PROFILE, tools(f"f{number}"), ToolChoice(), {})

    again = grammars.grammar(PROFILE, tools("f"), ToolChoice(), {})
    assert again == first
    assert again is not first
