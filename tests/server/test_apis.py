from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.server.anthropic import request as anthropic
from localrun.server.anthropic.dialect import ANTHROPIC
from localrun.server.apis import choose_dialect
from localrun.server.ollama import call as ollama
from localrun.server.ollama.dialect import OLLAMA
from localrun.server.openai.chat_request import parse_chat
from localrun.server.openai.completion_request import parse_completion
from localrun.server.openai.dialect import OPENAI, RESPONSES
from localrun.server.openai.responses import request as responses
from localrun.server.openai.responses.store import ResponseStore
from localrun.server.parsing.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import JsonObject
    from localrun.server.core.request import CompletionRequest
    from localrun.server.dialect import Dialect
    from tests.server.serving import Served

VERSION = b"anthropic-version"
QUESTION: JsonObject = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("path", "header", "dialect"),
    [
        ("/v1/messages", None, ANTHROPIC),
        ("/v1/messages/count_tokens", None, ANTHROPIC),
        ("/v1/messagesx", None, OPENAI),
        ("/v1/models", VERSION, ANTHROPIC),
        ("/v1/models", b"authorization", OPENAI),
        ("/v1/unknown", VERSION, ANTHROPIC),
        ("/v1/chat/completions", VERSION, OPENAI),
        ("/v1/responses/resp_1", VERSION, RESPONSES),
        ("/v1/responses", None, RESPONSES),
        ("/rerank", None, OPENAI),
        ("/tokenizer_info", None, OPENAI),
        ("/api/chat", VERSION, OLLAMA),
        ("/api/localrun/load", None, OLLAMA),
        ("/unknown", None, OLLAMA),
    ],
)
def test_the_path_decides_the_dialect(path: str, header: bytes | None, dialect: Dialect) -> None:
    headers = [] if header is None else [(header, b"x")]

    assert choose_dialect({"path": path, "headers": headers}) is dialect


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/fake"])
def test_models_are_listed_for_both_kinds_of_clients(served: Served, path: str) -> None:
    openai = httpx.get(served.url + path).json()
    anthropic = httpx.get(served.url + path, headers={VERSION.decode(): "2023-06-01"}).json()

    assert openai["object"] in {"list", "model"}
    assert "object" not in anthropic


@pytest.mark.parametrize(
    ("parse", "body", "is_streamed_by_default"),
    [
        (lambda fields: parse_chat(fields).request, QUESTION, False),
        (lambda fields: parse_completion(fields).requests[0], {"prompt": "hi"}, False),
        (
            lambda fields: responses.parse_call(fields, ResponseStore()).request,
            {"input": "hi"},
            False,
        ),
        (
            lambda fields: anthropic.parse_call(fields).request,
            {**QUESTION, "max_tokens": 9},
            False,
        ),
        (lambda fields: ollama.parse_call(fields, "chat").request, QUESTION, True),
        (lambda fields: ollama.parse_call(fields, "generate").request, {"prompt": "hi"}, True),
    ],
)
def test_the_engine_learns_whether_somebody_reads_the_stream(
    parse: Callable[[Fields], CompletionRequest],
    body: JsonObject,
    is_streamed_by_default: bool,  # noqa: FBT001 - a case of the table
) -> None:
    body = {"model": "fake", **body}

    parsed = [
        parse(Fields({**body, **stream})) for stream in ({}, {"stream": True}, {"stream": False})
    ]

    assert [request.generation.is_streamed for request in parsed] == [
        is_streamed_by_default,
        True,
        False,
    ]
