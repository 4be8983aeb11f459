from __future__ import annotations

import json
from typing import Any

from localrun.errors import ContextExceededError, OverloadedError
from localrun.server.anthropic.dialect import ANTHROPIC
from localrun.server.errors import error_response


def scope() -> dict[str, Any]:
    return {"path": "/v1/messages", "headers": [], "state": {"dialect": ANTHROPIC}}


def test_too_much_work_is_529_with_a_time_to_come_back() -> None:
    response = error_response(scope(), OverloadedError("16 requests wait"))

    assert (response.status_code, response.headers["retry-after"]) == (529, "5")
    assert json.loads(bytes(response.body))["error"]["type"] == "overloaded_error"


def test_a_long_prompt_has_the_words_that_claude_code_looks_for() -> None:
    error = ContextExceededError("the prompt has 5000 tokens, the context 4096", hint="shorten it")

    body = json.loads(bytes(error_response(scope(), error).body))

    assert body["error"] == {
        "type": "invalid_request_error",
        "message": "prompt is too long: 5000 tokens > 4096 maximum",
    }
