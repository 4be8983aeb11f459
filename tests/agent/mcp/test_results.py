from __future__ import annotations

from typing import Any

from mcp import types
from pydantic import AnyUrl

from localrun.agent.mcp.results import (
    LARGEST_SCHEMA,
    description_of,
    result_of,
    schema_of,
    unique_name,
)


def test_names_are_unique_and_bounded() -> None:
    used: set[str] = set()
    for _ in range(12):
        used.add(unique_name("server" * 10, "tool" * 30, used))
    used.add(unique_name("a b/c", "d.e\n", used))

    assert len(used) == 13
    assert all(len(name) <= 64 and name.isascii() for name in used)
    assert "a_b_c_d_e_" in used


def tool(schema: dict[str, Any], description: str | None = None) -> types.Tool:
    return types.Tool(name="t", inputSchema=schema, description=description)


def test_schemas_and_descriptions_are_bounded() -> None:
    large: dict[str, Any] = {
        "type": "object",
        "properties": {"x": {"enum": ["y" * LARGEST_SCHEMA]}},
    }

    assert schema_of(tool(large)) is None
    assert schema_of(tool({"type": "string"})) == {"type": "object", "properties": {}}
    assert len(description_of(tool({}, "x" * 100_000))) == 2000
    assert description_of(tool({})) == "t"


def test_results_of_all_kinds_are_texts() -> None:
    result = types.CallToolResult(
        content=[
            types.TextContent(type="text", text="a"),
            types.AudioContent(type="audio", data="AAAA", mimeType="audio/wav"),
            types.EmbeddedResource(
                type="resource", resource=types.TextResourceContents(uri=AnyUrl("x://y"), text="b")
            ),
            types.ResourceLink(type="resource_link", uri=AnyUrl("x://z"), name="c"),
        ],
        isError=True,
    )

    converted = result_of(result)

    assert converted.text == "a\n[audio/wav, 3 bytes, not shown]\nb\n[resource x://z: c]"
    assert converted.is_error


def test_a_result_without_text_is_its_structure() -> None:
    result = types.CallToolResult(content=[], structuredContent={"a": 1})

    assert result_of(result).text == '{"a": 1}'
    assert result_of(types.CallToolResult(content=[])).text == "(no result)"
