"""``/openapi.json`` tells the truth: about routes, requests and answers."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server.json_schema import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.serving import Served

USER = [{"role": "user", "content": "say <think>hm</think>yes"}]
CALL = [{"role": "user", "content": 'say <tool_call>{"name":"t","arguments":{}}</tool_call>'}]
TOOLS = [{"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}]
ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/", {}),
    ("GET", "/healthz", {}),
    ("GET", "/readyz", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/api/version", {}),
    ("GET", "/api/tags", {}),
    ("GET", "/api/ps", {}),
    ("GET", "/v1/models", {}),
    ("GET", "/v1/models/{name}", {}),
    ("GET", "/api/localrun/why", {}),
    ("GET", "/api/localrun/parameters", {}),
    ("POST", "/api/localrun/render", {"texts": ["# a", "b"]}),
    ("POST", "/api/localrun/presence", {}),
    ("GET", "/api/localrun/machine", {}),
    ("GET", "/api/localrun/log", {}),
    ("POST", "/api/localrun/lint", {"modelfile": "FROM guide"}),
    ("GET", "/v1/files", {}),
    ("GET", "/v1/batches", {}),
    ("POST", "/v1/chat/completions", {"messages": USER, "logprobs": True, "top_logprobs": 2}),
    ("POST", "/v1/chat/completions", {"messages": CALL, "tools": TOOLS, "n": 2}),
    ("POST", "/v1/chat/completions", {"messages": CALL, "functions": [TOOLS[0]["function"]]}),
    ("POST", "/v1/chat/completions", {"messages": USER, "overflow": "drop"}),
    ("POST", "/v1/completions", {"prompt": ["say x", [115]], "n": 2, "logprobs": 1}),
    ("POST", "/v1/completions", {"prompt": "say x", "echo": True}),
    ("POST", "/v1/embeddings", {"input": "abc"}),
    ("POST", "/v1/embeddings", {"input": ["abc"], "encoding_format": "base64"}),
    ("POST", "/v1/rerank", {"query": "q", "documents": ["abcd"], "return_documents": True}),
    ("POST", "/v1/tokenize", {"prompt": "abc", "return_token_strs": True}),
    ("POST", "/v1/detokenize", {"tokens": [97, 98]}),
    ("POST", "/v1/apply-template", {"messages": USER}),
    ("POST", "/tokenize", {"content": "abc", "with_pieces": True}),
    ("POST", "/tokenize", {"prompt": "abc"}),
    ("POST", "/detokenize", {"tokens": [97, 98]}),
    ("POST", "/apply-template", {"messages": USER}),
    ("GET", "/slots", {}),
    ("POST", "/v1/responses", {"input": USER, "tools": [{"type": "function", "name": "t"}]}),
    ("POST", "/v1/responses", {"input": "hang", "background": True, "truncation": "auto"}),
    ("POST", "/v1/responses/input_tokens", {"input": USER}),
    ("POST", "/v1/messages", {"messages": USER, "max_tokens": 9}),
    ("POST", "/v1/messages/count_tokens", {"messages": USER}),
    ("POST", "/api/chat", {"messages": USER, "stream": False, "logprobs": True}),
    ("POST", "/api/chat", {"messages": CALL, "tools": TOOLS, "stream": False}),
    ("POST", "/api/generate", {"prompt": "say x", "stream": False}),
    ("POST", "/api/generate", {}),
    ("POST", "/api/embed", {"input": "abc"}),
    ("POST", "/api/embeddings", {"prompt": "abc"}),
]
DESCRIBED = ("/api/localrun/why", "/api/localrun/parameters")  # by a query
WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/api/localrun/why?model=nosuch", {}),
    ("GET", "/v1/models/nosuch", {}),
    *(("POST", path, {"model": "nosuch", "prompt": "x"}) for path in ("/v1/completions",)),
    ("GET", "/v1/files?limit=0", {}),
    ("POST", "/v1/files", {}),
    ("POST", "/v1/batches", {}),
    ("POST", "/v1/audio/transcriptions", {}),
    ("POST", "/v1/audio/translations", {}),
    ("POST", "/v1/chat/completions", {"messages": 3}),
    ("POST", "/v1/messages", {"messages": 3}),
    ("POST", "/v1/responses", {"input": 3}),
    ("POST", "/reranking", {}),
    ("POST", "/api/chat", {"messages": 3}),
    ("POST", "/api/pull", {"model": 3}),
    ("DELETE", "/api/delete", {"model": "nosuch"}),
]


@pytest.fixture(scope="module")
def document(served: Served) -> Any:
    return httpx.get(f"{served.url}/openapi.json").json()


def ask(served: Served, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
    url = served.url + path.replace("{name}", "fake")
    if method == "GET":
        query = {"model": "fake"} if path in DESCRIBED else None
        return httpx.get(url, params=query)
    return httpx.request(method, url, json={"model": "fake", **body})


def schema_of(document: Any, method: str, path: str, status: int) -> Any:
    """Return the schema of an answer, None where it is no JSON."""
    responses = document["paths"][path][method.lower()]["responses"]
    found = responses.get(str(status)) or responses[f"{status // 100}XX"]
    return found.get("content", {}).get("application/json", {}).get("schema")


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
    for inner in part.values() if isinstance(part, dict) else part:
        if isinstance(inner, dict | list):
            yield from references(inner)


def test_every_route_is_described_by_hand(document: Any) -> None:
    undescribed = {
        f"{method} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "default" in operation["responses"]
    }

    assert undescribed == set()
    assert len(document["paths"]) > 30


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: Any) -> None:
    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert set(references(document)) == named


def test_bodies_and_answers_have_schemas(document: Any) -> None:
    without = {
        "/api/localrun/shutdown",
        "/api/me",
        "/api/signout",
        "/api/blobs/{digest}",
        "/v1/responses/{response_id}/cancel",
        "/v1/batches/{batch_id}/cancel",
        "/v1/files",  # a form
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/login",  # a form
        "/logout",
        "/api/localrun/presence",
    }
    for path, methods in document["paths"].items():
        body = methods.get("post", {}).get("requestBody")
        if path not in without and "post" in methods:
            assert body["content"]["application/json"]["schema"], path


@pytest.mark.parametrize(("method", "path", "body"), ASKED)
def test_an_answer_is_as_described(
    served: Served, document: Any, method: str, path: str, body: dict[str, Any]
) -> None:
    if path == "/api/localrun/why":
        ask(served, "POST", "/api/generate", {})
    answer = ask(served, method, path, body)

    assert answer.status_code == 200, answer.text
    schema = schema_of(document, method, path, 200)
    if schema is not None:
        assert problems(document, schema, answer.json()) == []


@pytest.mark.parametrize(("method", "path", "body"), WRONG)
def test_an_error_is_as_described(
    served: Served, document: Any, method: str, path: str, body: dict[str, Any]
) -> None:
    answer = ask(served, method, path, body)

    assert 400 <= answer.status_code < 500
    described = re.sub(r"/models/.*", "/models/{name}", path).partition("?")[0]
    schema = schema_of(document, method, described, answer.status_code)
    assert problems(document, schema, answer.json()) == []


def test_what_is_described_as_wrong_is_seen(document: Any) -> None:
    usage = {"$ref": "#/components/schemas/Usage"}
    right = dict.fromkeys(document["components"]["schemas"]["Usage"]["required"], 1)

    assert problems(document, usage, {}) != []
    assert problems(document, usage, right) == ["$.prompt_tokens_details: 1 is no object"]


def test_the_document_is_written_only_when_somebody_asks() -> None:
    code = (
        "import sys, localrun.server.app;"
        "assert not any(name.startswith('localrun.server.openapi') for name in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
