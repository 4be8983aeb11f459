from __future__ import annotations

from typing import Any

import pytest

from localrun.errors import UsageError
from localrun.server.openai.responses.tools import (
    TOOLS,
    ResponsesTool,
    ToolKind,
    ToolSet,
    read_tools,
)
from localrun.server.parsing.fields import Fields

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Patches.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'},
}


def read(tools: list[Any], choice: Any = None) -> ToolSet:
    return read_tools(TOOLS.read(Fields({"tools": tools, "tool_choice": choice})))


def test_functions_are_wrapped_for_templates_and_told_with_all_their_fields() -> None:
    tools = read([{"type": "function", "name": "look"}])

    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    assert tools.functions == ({"type": "function", "function": function},)
    assert tools.reported == (
        {
            "type": "function",
            "name": "look",
            "description": None,
            "parameters": None,
            "strict": None,
        },
    )


def test_custom_tools_and_the_shell_are_functions_with_what_their_calls_need() -> None:
    patch, shell = read([PATCH, {"type": "local_shell"}]).functions

    assert patch["function"]["parameters"]["required"] == ["input"]
    assert patch["function"]["description"] == (
        'Patches.\n\nThe input is written in this lark grammar:\nstart: "x"'
    )
    assert shell["function"]["name"] == "local_shell"
    assert shell["function"]["parameters"]["required"] == ["command"]


def test_tools_of_a_namespace_have_its_name_before_theirs() -> None:
    tools = read([{"type": "namespace", "name": "eyes", "tools": [LOOK]}, LOOK])

    assert [one["function"]["name"] for one in tools.functions] == ["eyes__look", "look"]
    assert tools.called("eyes__look") == ResponsesTool("look", ToolKind.FUNCTION, "eyes")
    assert tools.called("look") == ResponsesTool("look")
    assert tools.called("made_up") == ResponsesTool("made_up")


def test_what_only_openai_runs_beside_an_answer_is_left_out() -> None:
    tools = read([{"type": "web_search"}, LOOK, {"type": "web_search_preview_2025_03_11"}])

    assert tools.reported == ({"description": None, **LOOK},)
    assert len(tools.functions) == 1


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "look"}, "look"),
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "local_shell"}, "local_shell"),
    ],
)
def test_a_call_can_be_asked_for(choice: Any, wanted: str) -> None:
    assert read([LOOK, PATCH, {"type": "local_shell"}], choice).choice == wanted


def test_some_tools_can_be_allowed() -> None:
    only = {"type": "function", "name": "look"}
    tools = read([LOOK, PATCH], {"type": "allowed_tools", "mode": "required", "tools": [only]})

    assert ([one["function"]["name"] for one in tools.functions], tools.choice) == (
        ["look"],
        "required",
    )


@pytest.mark.parametrize(
    ("tools", "choice", "message"),
    [
        ([{"type": "mcp", "server_label": "x"}], None, r"tools\[0\]\.type is mcp"),
        ([LOOK, {"type": "file_search"}], None, r"tools\[1\]\.type is file_search"),
        ([{"name": "x"}], None, r"tools\[0\]\.type"),
        ([{"type": "function"}], None, r"tools\[0\]\.name"),
        ([{"type": "function", "name": "x", "parameters": []}], None, r"tools\[0\]\.parameters"),
        ([{"type": "namespace", "tools": [LOOK]}], None, r"tools\[0\]\.name"),
        ([{"type": "namespace", "name": "n", "tools": [{"type": "x"}]}], None, r"tools\[0\]\.t"),
        ([{"type": "web_search"}], {"type": "web_search"}, r"tool_choice\.type"),
        ([{"type": "web_search"}], "required", "tool_choice requires a call"),
        ([LOOK], {"type": "function", "name": "peek"}, "tool_choice names"),
        ([LOOK], "sometimes", "tool_choice must be"),
        (
            [LOOK],
            {"type": "allowed_tools", "mode": "required", "tools": [{"name": []}]},
            "no tools",
        ),
    ],
)
def test_what_cannot_be_offered_is_named(tools: list[Any], choice: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tools, choice)
