"""Requests that tools send first, and what an answer must have: data for ``connect check``.

Each body is as small as the tool's own would be large: some tokens of an answer, one tool. A reader
of an answer returns None, or what is wrong with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from localrun.integrations.tool import ProbeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.integrations.target import Target

QUESTION = "Say hi."
MAX_TOKENS = 16
PARAMETERS = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
}
TOOL_NAME, TOOL_ABOUT = "read_file", "Read a file."
ANTHROPIC_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """One request, and the check of its whole answer."""

    method: str
    path: str
    check: Callable[[str], str | None]
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def probe_request(probe: ProbeKind, target: Target) -> ProbeRequest | None:
    """Return the request of a probe; None if the target has no model for it."""
    return _BUILDERS[probe](target)


def _models(target: Target) -> ProbeRequest:
    return ProbeRequest(
        method="GET", path="/v1/models", check=_lists(target.chat.name, "data", "id")
    )


def _chat(target: Target) -> ProbeRequest:
    return ProbeRequest(
        method="POST",
        path="/v1/chat/completions",
        body=_chat_body(target),
        check=_streams("data: [DONE]"),
    )


def _chat_tools(target: Target) -> ProbeRequest:
    function = {"name": TOOL_NAME, "description": TOOL_ABOUT, "parameters": PARAMETERS}
    body = {**_chat_body(target), "tools": [{"type": "function", "function": function}]}
    body["stream_options"] = {"include_usage": True}
    return ProbeRequest(
        method="POST", path="/v1/chat/completions", body=body, check=_streams("data: [DONE]")
    )


def _chat_body(target: Target) -> dict[str, Any]:
    return {
        "model": target.chat.name,
        "messages": [
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        ],
        "max_tokens": MAX_TOKENS,
        "stream": True,
    }


def _responses(target: Target) -> ProbeRequest:
    tool = {
        "type": "function",
        "name": TOOL_NAME,
        "description": TOOL_ABOUT,
        "parameters": PARAMETERS,
        "strict": False,
    }
    content = [{"type": "input_text", "text": QUESTION}]
    body = {
        "model": target.chat.name,
        "instructions": "Answer briefly.",
        "input": [{"type": "message", "role": "user", "content": content}],
        "tools": [tool],
        "tool_choice": "auto",
        "store": False,
        "stream": True,
        "max_output_tokens": MAX_TOKENS,
    }
    return ProbeRequest(
        method="POST",
        path="/v1/responses",
        body=body,
        check=_streams("event: response.completed", "event: response.incomplete"),
    )


def _messages(target: Target) -> ProbeRequest:
    tool = {"name": TOOL_NAME, "description": TOOL_ABOUT, "input_schema": PARAMETERS}
    body = {
        "model": target.chat.name,
        "max_tokens": MAX_TOKENS,
        "system": [{"type": "text", "text": "Answer briefly."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
        "tools": [tool],
        "stream": True,
    }
    return ProbeRequest(
        method="POST",
        path="/v1/messages?beta=true",
        body=body,
        check=_streams("event: message_stop"),
        headers={"anthropic-version": ANTHROPIC_VERSION},
    )


def _completions(target: Target) -> ProbeRequest | None:
    if target.autocomplete is None:
        return None
    body = {
        "model": target.autocomplete.name,
        "prompt": "def add(a, b):\n    return ",
        "max_tokens": MAX_TOKENS,
    }
    return ProbeRequest(method="POST", path="/v1/completions", body=body, check=_has("choices"))


def _embeddings(target: Target) -> ProbeRequest | None:
    if target.embed is None:
        return None
    body = {"model": target.embed.name, "input": ["hi", "bye"], "encoding_format": "base64"}
    return ProbeRequest(method="POST", path="/v1/embeddings", body=body, check=_has("data"))


def _ollama_tags(target: Target) -> ProbeRequest:
    check = _lists(target.chat.name, "models", "name")
    return ProbeRequest(method="GET", path="/api/tags", check=check)


def _ollama_chat(target: Target) -> ProbeRequest:
    body = {
        "model": target.chat.name,
        "messages": [{"role": "user", "content": QUESTION}],
        "options": {"num_predict": MAX_TOKENS},
    }
    return ProbeRequest(
        method="POST", path="/api/chat", body=body, check=_streams('"done":true', '"done": true')
    )


def _ollama_generate(target: Target) -> ProbeRequest | None:
    if target.autocomplete is None:
        return None
    body = {
        "model": target.autocomplete.name,
        "prompt": "def add(a, b):\n    return ",
        "suffix": "\n",
        "stream": False,
        "options": {"num_predict": MAX_TOKENS},
    }
    return ProbeRequest(method="POST", path="/api/generate", body=body, check=_has("response"))


_BUILDERS: dict[ProbeKind, Callable[[Target], ProbeRequest | None]] = {
    ProbeKind.MODELS: _models,
    ProbeKind.CHAT: _chat,
    ProbeKind.CHAT_TOOLS: _chat_tools,
    ProbeKind.RESPONSES: _responses,
    ProbeKind.MESSAGES: _messages,
    ProbeKind.COMPLETIONS: _completions,
    ProbeKind.EMBEDDINGS: _embeddings,
    ProbeKind.OLLAMA_TAGS: _ollama_tags,
    ProbeKind.OLLAMA_CHAT: _ollama_chat,
    ProbeKind.OLLAMA_GENERATE: _ollama_generate,
}


def _streams(*endings: str) -> Callable[[str], str | None]:
    """Return a check that a streamed answer has one of the final events."""

    def check(text: str) -> str | None:
        return None if any(ending in text for ending in endings) else "the answer has no end"

    return check


def _has(key: str) -> Callable[[str], str | None]:
    """Return a check that a JSON answer has something under a key."""

    def check(text: str) -> str | None:
        value = _decoded(text)
        return None if isinstance(value, dict) and key in value else f"the answer lacks {key}"

    return check


def _lists(name: str, key: str, field_name: str) -> Callable[[str], str | None]:
    """Return a check that a list has a model."""

    def check(text: str) -> str | None:
        value = _decoded(text)
        listed = value.get(key) if isinstance(value, dict) else None
        names = [str(item.get(field_name)) for item in listed or () if isinstance(item, dict)]
        if any(listed_name.removesuffix(":latest") == name for listed_name in names):
            return None
        return f"the list of models lacks {name}"

    return check


def _decoded(text: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
