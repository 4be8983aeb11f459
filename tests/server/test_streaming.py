"""Long silences and late errors of streams, against the real server and what clients read."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import ollama
import openai
import pytest

from localrun.server import streaming
from localrun.server.core import Completions
from tests.server.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHATS = ["/v1/chat/completions", "/api/chat", "/v1/messages"]
SIGNS = 2


@pytest.fixture
def quick_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "QUIET_S", 0.1)


@pytest.fixture
def slow(tmp_path: Path, quick_signs: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server whose model is loaded when some signs of life are due."""
    pipe = tmp_path / "waits.gguf"
    os.mkfifo(pipe)
    from tests.server import serving as module

    model_file = module.FakeCatalogue

    class Catalogue(model_file):  # type: ignore[valid-type, misc] # the fake with another file
        def __init__(self, _file: str) -> None:
            super().__init__(str(pipe))

    monkeypatch.setattr(module, "FakeCatalogue", Catalogue)

    def open_later() -> None:
        time.sleep(0.1 * (SIGNS + 2))
        pipe.write_text("ready")

    with serving() as found:
        opener = threading.Thread(target=open_later)
        opener.start()
        yield found
        opener.join()


def body(content: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"model": "fake", "messages": messages, "stream": True, "max_tokens": 9}


def test_events_have_comments_while_a_model_loads(slow: Served) -> None:
    with httpx.stream("POST", f"{slow.url}{CHATS[0]}", json=body("say hi"), timeout=10) as response:
        text = response.read().decode()

    assert text.count(": localrun is at work\n\n") >= SIGNS
    assert text.index(": localrun") < text.index("data: ") < text.index('"hi"')
    assert text.endswith("data: [DONE]\n\n")


def test_lines_of_json_stay_lines_of_json_while_a_model_loads(slow: Served) -> None:
    client = ollama.Client(host=slow.url)

    parts = list(client.chat("fake", [{"role": "user", "content": "say hi"}], stream=True))

    assert [part.message.content for part in parts] == ["hi", ""]


def test_openais_client_reads_past_the_comments(slow: Served) -> None:
    client = openai.OpenAI(base_url=f"{slow.url}/v1", api_key="x")

    chunks = client.chat.completions.create(
        model="fake", messages=[{"role": "user", "content": "say hi"}], stream=True
    )

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hi"


@pytest.mark.usefixtures("quick_signs")
@pytest.mark.parametrize("path", CHATS)
def test_signs_go_on_while_a_prompt_is_read(served: Served, path: str) -> None:
    seen = b""
    with httpx.stream("POST", f"{served.url}{path}", json=body("hang"), timeout=10) as response:
        for chunk in response.iter_raw():
            seen += chunk
            if len(seen.partition(b"...")[2].split(b"at work")) > SIGNS or seen.endswith(b"  "):
                break

    assert b"..." in seen


@pytest.mark.usefixtures("quick_signs")
@pytest.mark.parametrize("path", CHATS)
def test_an_error_after_a_sign_of_life_ends_the_stream_in_the_apis_words(
    monkeypatch: pytest.MonkeyPatch, served: Served, path: str
) -> None:
    find = Completions._submit  # noqa: SLF001 - to make it slow

    def late(*args: Any) -> Any:
        time.sleep(0.3)
        return find(*args)

    monkeypatch.setattr(Completions, "_submit", late)
    wrong = {**body("x"), "model": "nosuch"}

    response = httpx.post(f"{served.url}{path}", json=wrong, timeout=10)

    assert response.status_code == 200
    assert "not on this machine" in last_error(response.text)


@pytest.mark.parametrize("path", CHATS)
def test_a_bug_in_the_middle_ends_the_stream_in_the_apis_words(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("localrun.server.core._moved", breaks)
    with serving() as broken:
        response = httpx.post(f"{broken.url}{path}", json=body("say secret"), timeout=10)

    assert response.status_code == 200
    assert "localrun has a bug" in last_error(response.text)


def breaks(*_args: object) -> None:
    raise ZeroDivisionError("secret")


def last_error(text: str) -> str:
    """Return the message of the last event or line that is an error."""
    assert "data: [DONE]" not in text or text.endswith("data: [DONE]\n\n")
    lines = [line for line in text.splitlines() if line.strip() and "[DONE]" not in line]
    error = json.loads(lines[-1].removeprefix("data: "))["error"]
    return str(error["message"] if isinstance(error, dict) else error)
