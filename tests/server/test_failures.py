"""Errors before an answer has begun have a status, also when it would have been a stream."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fakes.starting import num_open
from tests.server.serving import serving

if TYPE_CHECKING:
    from tests.server.serving import Served

PATHS = ["/api/chat", "/v1/chat/completions"]


def chat(served: Served, path: str, content: str, **fields: Any) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": content}], **fields}
    return httpx.post(f"{served.url}{path}", json=body)


def code_of(response: httpx.Response) -> str:
    body = response.json()
    code: str = body["code"] if "code" in body else body["error"]["code"]
    return code


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_does_not_fit_is_400(served: Served, path: str, *, stream: bool) -> None:
    response = chat(served, path, "fail", stream=stream)

    assert response.status_code == 400
    assert code_of(response) == "context_length_exceeded"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_does_not_load_is_500(path: str, *, stream: bool) -> None:
    with serving("broken.gguf") as broken:
        response = chat(broken, path, "say x", stream=stream)

    assert response.status_code == 500
    assert code_of(response) == "load_failed"


@pytest.mark.parametrize("path", PATHS)
def test_a_death_in_a_whole_answer_is_500_and_the_next_one_works(served: Served, path: str) -> None:
    died = chat(served, path, "die", stream=False)
    again = chat(served, path, "say back", stream=False)

    assert (died.status_code, code_of(died)) == (500, "runner_died")
    assert "back" in again.text


@pytest.mark.parametrize("path", PATHS)
def test_sixteen_at_once_each_get_their_own_answer(served: Served, path: str) -> None:
    def ask(number: int) -> str:
        return chat(served, path, f"say <{number}>", stream=False).text

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(16)))

    assert all(f"<{number}>" in answer for number, answer in enumerate(answers))
    assert num_open(served.pool) == 0


@pytest.mark.parametrize("path", PATHS)
def test_a_request_reaches_the_runner_as_it_was_meant(served: Served, path: str) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    sampling = {"temperature": 0, "top_k": 3, "top_p": 0.5, "min_p": 0.1, "seed": 7, "stop": "END"}
    fields: dict[str, Any] = (
        {"options": {**sampling, "num_predict": 5}, "format": "json", "think": False}
        if path == "/api/chat"
        else {
            **sampling,
            "max_completion_tokens": 5,
            "response_format": {"type": "json_object"},
            "chat_template_kwargs": {"enable_thinking": False},
        }
    )
    answer = chat(served, path, "echo", stream=False, tools=tools, **fields).json()

    message = answer["message"] if "message" in answer else answer["choices"][0]["message"]
    request = json.loads(message["content"])
    expected = {"temperature": 0, "top_k": 3, "top_p": 0.5, "min_p": 0.1, "seed": 7}
    assert expected.items() <= request["sampling"].items()
    assert request["messages"] == [{"role": "user", "content": "echo"}]
    assert request["tools"] == tools
    assert request["template_options"] == {"enable_thinking": False}
    assert (request["num_predict"], request["stop"]) == (5, ["END"])
    assert request["constraint"]["kind"] == "json_object"


def test_a_wrong_method_has_the_shape_of_its_api(served: Served) -> None:
    response = httpx.get(f"{served.url}/api/chat")

    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")


def test_a_server_without_open_files_left_says_so(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("tests.server.serving.FakeCatalogue.list_models", refuse)
    response = httpx.get(f"{served.url}/api/tags")

    assert response.status_code == 503
    assert response.json()["error"].startswith("the server has too many open files")


def test_another_refusal_of_the_system_is_a_bug(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("tests.server.serving.FakeCatalogue.list_models", refuse)
    response = httpx.get(f"{served.url}/api/tags")

    assert response.status_code == 500
    assert "bug" in response.json()["error"]
