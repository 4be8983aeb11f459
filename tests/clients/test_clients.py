"""Real clients do with the server what they do with the one that they were made for.

Each line of CLIENTS is a client, the program in ``programs/`` that drives it, and the acts
that it knows; each act is what one test below expects of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import acting
import httpx
import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.clients.conftest import Drive
    from tests.e2e.conftest import Home

CHAT = {"chat", "stream", "cancel"}
TOOLS = {"tools", "stream_tools", "schema"}
PLAIN = CHAT | TOOLS | {"unknown"}
EVERYTHING = PLAIN | {"models", "thinking", "required_tool", "embeddings"}
NEARLY = 1e-4


@dataclass(frozen=True, slots=True)
class Client:
    """A client: what runs its program (``own``: the Python of these tests), and its acts."""

    kind: str
    program: str
    acts: set[str]


CLIENTS = {
    "openai": Client("own", "with_openai", EVERYTHING | {"generate", "pictures"}),
    "openai-responses": Client("own", "with_openai_responses", PLAIN),
    "anthropic": Client("own", "with_anthropic", EVERYTHING - {"embeddings"} | {"pictures"}),
    "ollama": Client(
        "own", "with_ollama", EVERYTHING - {"required_tool"} | {"generate", "pictures"}
    ),
    "openai-npm": Client("node", "with_openai", EVERYTHING | {"generate"}),
    "openai-npm-responses": Client("node", "with_openai_responses", PLAIN),
    "ollama-npm": Client("node", "with_ollama", EVERYTHING - {"required_tool"} | {"generate"}),
    "ai-openai-compatible": Client(
        "node", "with_ai openai-compatible", EVERYTHING - {"models"} | {"pictures"}
    ),
    "ai-openai": Client("node", "with_ai openai", EVERYTHING - {"models"} | {"pictures"}),
    "ai-anthropic": Client(
        "node", "with_ai anthropic", PLAIN | {"thinking", "required_tool", "pictures"}
    ),
    "langchain-openai": Client(
        "python",
        "with_langchain_openai",
        EVERYTHING - {"models", "thinking"} | {"schema_by_tool", "pictures"},
    ),
    "langchain-ollama": Client(
        "python", "with_langchain_ollama", PLAIN | {"thinking", "embeddings", "pictures"}
    ),
    "instructor": Client(
        "python", "with_instructor", {"schema", "schema_by_tool", "schema_in_stream"}
    ),
    "llm-openai": Client("python", "with_llm openai", CHAT | TOOLS),
    "llm-ollama": Client("python", "with_llm ollama", CHAT | TOOLS | {"embeddings"}),
}


def clients(act: str) -> pytest.MarkDecorator:
    """Return the mark of a test that wants the outcome of an act of all clients that know it."""
    cases = [
        pytest.param(
            act, client, id=name, marks=() if client.kind == "own" else pytest.mark.clients
        )
        for name, client in CLIENTS.items()
        if act in client.acts
    ]
    return pytest.mark.parametrize(("act", "client"), cases)


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest) -> str:
    """Return where the model is: with the server, or at another localrun."""
    return str(request.param)


@pytest.fixture
def outcome(place: str, act: str, client: Client, request: pytest.FixtureRequest) -> Any:
    drive: Drive = request.getfixturevalue("drive" if place == "local" else "drive_remote")
    told = drive(client.kind, client.program)[act]
    assert "error" not in told, told["error"]
    return told["value"]


@clients("models")
def test_it_lists_the_models(outcome: list[str]) -> None:
    names = [name.removesuffix(":latest") for name in outcome]

    assert names == [acting.EMBEDDER, acting.ENDLESS, acting.MODEL]


@clients("chat")
def test_it_chats(outcome: str) -> None:
    assert outcome == "7 + 5 = 12."


@clients("stream")
def test_it_streams(outcome: list[str]) -> None:
    assert "".join(outcome) == "7 + 5 = 12."
    assert len([piece for piece in outcome if piece]) > 1  # the first token comes alone


@clients("generate")
def test_it_completes(outcome: str) -> None:
    assert outcome == "7 + 5 = 12."


@clients("thinking")
def test_it_is_told_the_thought_apart(outcome: list[str]) -> None:
    thought, answer = outcome

    assert thought.strip()
    assert "12" in answer
    assert "<think>" not in thought + answer


@clients("tools")
def test_it_calls_a_tool_and_uses_its_result(outcome: dict[str, Any]) -> None:
    assert outcome["calls"] == [["get_weather", {"city": "Oslo"}]]
    assert acting.WEATHER in outcome["text"]


@clients("stream_tools")
def test_it_calls_a_tool_in_a_stream(outcome: dict[str, Any]) -> None:
    assert outcome["calls"] == [["get_weather", {"city": "Oslo"}]]
    assert acting.WEATHER in outcome["text"]


@clients("required_tool")
def test_it_can_demand_a_call(outcome: list[Any]) -> None:
    ((name, arguments),) = outcome

    assert name == "get_weather"
    assert arguments in ({"city": "Oslo"}, {"city": "Bergen"})


@clients("schema")
def test_it_gets_what_a_schema_describes(outcome: dict[str, Any]) -> None:
    assert is_sum(outcome)


@clients("schema_by_tool")
def test_it_gets_it_as_the_arguments_of_a_call(outcome: dict[str, Any]) -> None:
    assert is_sum(outcome)


@clients("schema_in_stream")
def test_it_gets_it_in_a_stream(outcome: dict[str, Any]) -> None:
    assert is_sum(outcome)


@clients("embeddings")
def test_it_embeds(home: Home, outcome: list[list[float]]) -> None:
    body = {"model": acting.EMBEDDER, "input": acting.TEXTS, "encoding_format": "float"}
    answer = httpx.post(f"{home.url}/v1/embeddings", json=body, timeout=30).json()

    assert np.allclose(outcome, [one["embedding"] for one in answer["data"]], atol=NEARLY)


@clients("pictures")
def test_it_sends_pictures_that_guide_recognizes(outcome: list[str]) -> None:
    digit, colour = outcome

    assert digit == "7 + 4 = 11."
    assert "blue" in colour


@clients("cancel")
def test_what_it_breaks_off_is_cancelled(*, outcome: bool) -> None:
    assert outcome


@clients("unknown")
def test_it_understands_that_a_model_is_unknown(outcome: dict[str, Any]) -> None:
    assert outcome["status"] in {404, None}
    assert f"model '{acting.UNKNOWN}' is not on this machine" in outcome["message"]


def is_sum(value: dict[str, Any]) -> bool:
    return {name: type(each) for name, each in value.items()} == {"sum": int, "sure": bool}
