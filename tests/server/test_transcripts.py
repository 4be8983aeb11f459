"""Every streaming shape, byte for byte but for what is random or a time.

Those of Anthropic's API are in `test_anthropic_api.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server.serving import serving

if TYPE_CHECKING:
    from tests.conftest import Golden
    from tests.server.serving import Served

CALL = '<tool_call>{"name": "look", "arguments": {"a": 1}}</tool_call>'
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
THOUGHT = "say I see</think>\n\nIt is so"
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
OLLAMA_CHAT, GENERATE = "/api/chat", "/api/generate"
USAGE = {"include_usage": True}

RANDOM = re.compile(r'"([a-z]+[-_])[0-9a-f]{16,}"')
TIME = re.compile(r'("(?:created|created_at|completed_at)": ?)(?:\d+(?:\.\d+)?|"[^"]*")')
DURATION = re.compile(r'("[a-z_]+_duration": ?)\d+')


@pytest.mark.parametrize(
    ("name", "path", "prompt", "fields"),
    [
        ("openai-chat/text", CHAT, "say one two", {"stream_options": USAGE}),
        (
            "openai-chat/thinking",
            CHAT,
            THOUGHT,
            {"reasoning_effort": "high", "stream_options": USAGE},
        ),
        ("openai-chat/tools", CHAT, f"say Look {CALL}\n{CALL}", {"tools": TOOLS}),
        ("openai-chat/scores", CHAT, "say one two", {"logprobs": True, "top_logprobs": 2}),
        ("openai-completions/text", COMPLETIONS, "say one two", {"stream_options": USAGE}),
        ("openai-completions/scores", COMPLETIONS, "say one two", {"logprobs": 2}),
        ("ollama-chat/text", OLLAMA_CHAT, "say one two", {}),
        ("ollama-chat/thinking", OLLAMA_CHAT, THOUGHT, {"think": True}),
        ("ollama-chat/tools", OLLAMA_CHAT, f"say Look {CALL}\n{CALL}", {"tools": TOOLS}),
        ("ollama-generate/text", GENERATE, "say one two", {}),
        ("ollama-generate/thinking", GENERATE, THOUGHT, {"think": True}),
    ],
)
def test_a_stream_is_what_clients_expect(
    served: Served, golden: Golden, name: str, path: str, prompt: str, fields: dict[str, Any]
) -> None:
    golden(f"{name}.txt", streamed(served, path, prompt, fields))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("openai-chat", CHAT),
        ("openai-completions", COMPLETIONS),
        ("ollama-chat", OLLAMA_CHAT),
        ("ollama-generate", GENERATE),
    ],
)
def test_an_error_ends_a_stream_as_clients_expect(golden: Golden, name: str, path: str) -> None:
    with serving() as fresh:  # a model that crashes often is not loaded for a while
        golden(f"{name}/error.txt", streamed(fresh, path, "die", {}))


def streamed(served: Served, path: str, prompt: str, fields: dict[str, Any]) -> str:
    """Return a whole stream without what is random or a time."""
    asked = {"prompt": prompt, "messages": [{"role": "user", "content": prompt}]}
    asked.pop("prompt" if path in {CHAT, OLLAMA_CHAT} else "messages")
    body = {"model": "fake", "stream": True, **asked, **fields}

    response = httpx.post(f"{served.url}{path}", json=body)

    kind = "text/event-stream" if path.startswith("/v1/") else "application/x-ndjson"
    assert response.headers["content-type"].startswith(kind)
    return timeless(response.text)


def timeless(text: str) -> str:
    """Return a stream without what is random or a time."""
    text = RANDOM.sub(r'"\1..."', text)
    text = TIME.sub(r"\g<1>0", text)
    return DURATION.sub(r"\g<1>0", text)
