from __future__ import annotations

import json
from typing import Any

from localrun.errors import ContextExceededError, OverloadedError
from localrun.server.anthropic.dialect import error_event, speaks_anthropic
from localrun.server.errors import error_response


def scope(path: str, *headers: bytes) -> dict[str, Any]:
    return {"path": path, "headers": [(name, b"x") for name in headers]}


def test_who_speaks_it() -> None:
    assert speaks_anthropic(scope("/v1/messages/count_tokens"))
    assert speaks_anthropic(scope("/v1/models", b"anthropic-version"))
    assert not speaks_anthropic(scope("/v1/models", b"authorization"))
    assert not speaks_anthropic(scope("/v1/messagesx"))
    assert not speaks_anthropic(scope("/api/chat", b"anthropic-version"))


def test_too_much_work_is_529_with_a_time_to_come_back() -> None:
    response = error_response(scope("/v1/messages"), OverloadedError("16 requests wait"))

    assert (response.status_code, response.headers["retry-after"]) == (529, "5")
    assert json.loads(bytes(response.body))["error"]["type"] == "overloaded_error"


def test_a_long_prompt_is_told_in_the_words_that_claude_code_looks_for() -> None:
    error = ContextExceededError("the prompt has 5000 tokens, the context 4096", hint="shorten it")

    told = error_event(scope("/v1/messages"), error)["error"]

    assert told == {
        "type": "invalid_request_error",
        "message": "prompt is too long: 5000 tokens > 4096 maximum",
    }
