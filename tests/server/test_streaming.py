"""Long silences and late errors of streams, against the real server and what clients read."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import ollama
import openai
import pytest

from localrun.server import framing, streaming
from localrun.server.core.completions import Completions
from tests.server.serving import Served, serving
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from starlette.types import Send

CHATS = ["/v1/chat/completions", "/api/chat", "/v1/messages", "/v1/responses"]
SIGNS = 2


@pytest.fixture
def quick_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "QUIET_S", 0.05)


@pytest.fixture
def slow(
    quick_signs: None,  # noqa: ARG001 - a fixture
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
) -> Served:
    """Return a server whose requests wait for their model until signs of life were sent."""
    prepare, send_chunk = Completions._prepare, streaming._send_chunk
    signs = threading.Semaphore(0)

    async def counting(send: Send, chunk: bytes) -> None:
        await send_chunk(send, chunk)
        if chunk in {framing.SSE.keep_alive, framing.NDJSON.keep_alive}:
            signs.release()

    def late(*args: Any) -> Any:
        for _ in range(SIGNS):
            assert signs.acquire(timeout=HANG_S)
        return prepare(*args)

    monkeypatch.setattr(streaming, "_send_chunk", counting)
    monkeypatch.setattr(Completions, "_prepare", late)
    return served


def body(content: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    asked = {"messages": messages, "input": messages, "max_tokens": 9}
    return {"model": "fake", "stream": True, **asked}


def test_events_have_comments_while_a_model_loads(slow: Served) -> None:
    with httpx.stream("POST", f"{slow.url}{CHATS[0]}", json=body("say hi")) as response:
        text = response.read().decode()

    assert text.count(": localrun is at work\n\n") >= SIGNS
    assert text.index(": localrun") < text.index("data: ") < text.index('"hi"')
    assert text.endswith("data: [DONE]\n\n")


def test_lines_of_json_stay_lines_of_json_while_a_model_loads(slow: Served) -> None:
    messages = body("say hi")["messages"]

    with ollama.Client(host=slow.url) as client:
        parts = list(client.chat("fake", messages, stream=True))

    assert [part.message.content for part in parts] == ["hi", ""]


def test_openais_client_reads_past_the_comments(slow: Served) -> None:
    messages: list[Any] = body("say hi")["messages"]

    with openai.OpenAI(base_url=f"{slow.url}/v1", api_key="x") as client:
        chunks = client.chat.completions.create(model="fake", messages=messages, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    assert text == "hi"


@pytest.mark.usefixtures("quick_signs")
@pytest.mark.parametrize("path", CHATS)
def test_signs_go_on_while_a_prompt_is_read(served: Served, path: str) -> None:
    sign = b"  " if path.startswith("/api/") else b"at work"
    after = b""
    with httpx.stream("POST", f"{served.url}{path}", json=body("hang")) as response:
        for chunk in response.iter_raw():
            after += chunk if after or b"..." in chunk else b""
            if sign in after:
                break

    assert sign in after


@pytest.mark.parametrize("path", CHATS)
def test_an_error_after_a_sign_of_life_ends_the_stream_in_the_apis_words(
    slow: Served, path: str
) -> None:
    response = httpx.post(f"{slow.url}{path}", json=body("fail"))

    assert response.status_code == 200
    assert "too long" in last_error(response.text)


@pytest.mark.parametrize("path", CHATS)
def test_a_bug_in_the_middle_ends_the_stream_in_the_apis_words(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("localrun.server.core.reply_reader.ReplyReader.push", breaks)
    with serving() as broken:
        response = httpx.post(f"{broken.url}{path}", json=body("say secret"))

    assert response.status_code == 200
    assert "localrun has a bug" in last_error(response.text)


def breaks(*_args: object) -> None:
    raise ZeroDivisionError("secret")


def last_error(text: str) -> str:
    """Return the message of the last event or line that is an error."""
    assert "data: [DONE]" not in text or text.endswith("data: [DONE]\n\n")
    lines = [line for line in text.splitlines() if line.strip() and "[DONE]" not in line]
    event = json.loads(lines[-1].removeprefix("data: "))
    error = event.get("response", event)["error"]
    return str(error["message"] if isinstance(error, dict) else error)
