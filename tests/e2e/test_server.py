"""The server with the real model: real clients, crashes, many at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import ollama
import openai
import psutil
import pytest

from tests.e2e.conftest import Home, make_home, runner_of, server_of, wait_for
from tests.program import PROGRAM
from tests.signals import SIGKILL
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELLO: list[Any] = [{"role": "user", "content": "What is 7 + 5?"}]
# at this heat all tokens are alike: an answer that goes on until the context is full
ENDLESS = {"temperature": 100, "top_k": 0, "top_p": 1, "seed": 3}
WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


@pytest.fixture(scope="module")
def client(server: Home) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="local", max_retries=0) as found:
        yield found


def test_the_openai_client_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="guide", messages=HELLO, temperature=0)

    assert "12" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert [model.id for model in client.models.list()] == ["guide"]


def test_the_openai_client_sees_what_came_from_the_cache(client: openai.OpenAI) -> None:
    chat: list[Any] = [{"role": "user", "content": "Which colours does a rainbow have? " * 5}]
    counts: list[int] = []
    prompt = 0
    for _ in range(2):
        usage = client.chat.completions.create(model="guide", messages=chat, max_tokens=4).usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        counts.append(usage.prompt_tokens_details.cached_tokens or 0)
        prompt = usage.prompt_tokens

    assert counts[0] < prompt / 2
    assert counts[1] == prompt - 1


def test_the_openai_client_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="guide",
        messages=HELLO,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "12" in text
    assert chunks[-1].usage is not None


def test_the_openai_client_calls_a_tool_and_uses_its_answer(client: openai.OpenAI) -> None:
    question: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    first = client.chat.completions.create(
        model="guide", messages=question, tools=WEATHER, temperature=0
    ).choices[0]
    assert first.message.tool_calls is not None
    call: Any = first.message.tool_calls[0]
    told: list[Any] = [
        *question,
        first.message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"},
    ]

    second = client.chat.completions.create(
        model="guide", messages=told, tools=WEATHER, temperature=0
    ).choices[0]

    assert first.finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "get_weather",
        {"city": "Oslo"},
    )
    assert "sunny, 21 degrees" in (second.message.content or "")


def test_the_openai_client_makes_a_token_likely(client: openai.OpenAI, server: Home) -> None:
    told = httpx.post(f"{server.url}/v1/tokenize", json={"model": "guide", "content": "x"}).json()
    (wanted,) = told["tokens"]

    answer = client.chat.completions.create(
        model="guide", messages=HELLO, temperature=0, max_tokens=3, logit_bias={str(wanted): 100}
    )

    assert answer.choices[0].message.content == "xxx"
    with pytest.raises(openai.BadRequestError, match="is no token"):
        client.chat.completions.create(model="guide", messages=HELLO, logit_bias={"999999": 1})


def test_llama_servers_tokens_take_control_tokens_as_such_or_as_text(server: Home) -> None:
    def pieces(**fields: bool) -> list[Any]:
        body = {"model": "guide", "content": "hé<|im_end|>", "with_pieces": True, **fields}
        found = httpx.post(f"{server.url}/tokenize", json=body).json()["tokens"]
        return [one["piece"] for one in found]

    parsed, plain = pieces(), pieces(parse_special=False)

    assert parsed[-1] == "<|im_end|>"
    assert "<|im_end|>" not in plain
    assert "".join(piece for piece in plain if isinstance(piece, str)).endswith("<|im_end|>")


def test_the_openai_client_sees_errors_as_its_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="nosuch"):
        client.chat.completions.create(model="nosuch", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="context"):
        client.chat.completions.create(
            model="guide", messages=[{"role": "user", "content": "word " * 4000}]
        )


@pytest.fixture(scope="module")
def ollama_client(server: Home) -> Iterator[ollama.Client]:
    with contextlib.closing(ollama.Client(host=server.url)) as found:
        yield found


def test_the_ollama_client_chats_and_streams(ollama_client: ollama.Client) -> None:
    client = ollama_client
    options = {"temperature": 0}

    whole = client.chat(model="guide", messages=HELLO, options=options)
    streamed = list(client.chat(model="guide", messages=HELLO, options=options, stream=True))
    generated = client.generate(model="guide", prompt="What is 7 + 5?", options=options)

    assert "12" in (whole.message.content or "")
    assert "".join(part.message.content or "" for part in streamed) == whole.message.content
    assert generated.response == whole.message.content
    assert [model.model for model in client.list().models] == ["guide:latest"]
    assert [model.name for model in client.ps().models] == ["guide:latest"]


def test_the_ollama_client_gets_thoughts_apart(ollama_client: ollama.Client) -> None:
    answer = ollama_client.chat(
        model="guide", messages=HELLO, think=True, options={"temperature": 0}
    )

    assert answer.message.thinking
    assert "<think>" not in (answer.message.content or "") + answer.message.thinking


def test_sixteen_at_once_all_get_right_answers(server: Home) -> None:
    def ask(number: int) -> str:
        messages = [{"role": "user", "content": f"What is {number} + 2?"}]
        body = {
            "model": "guide",
            "messages": messages,
            "stream": False,
            "options": {"temperature": 0},
        }
        response = httpx.post(f"{server.url}/api/chat", json=body)
        content: str = response.json()["message"]["content"]
        return content

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))

    assert answers == [f"{number} + 2 = {number + 2}." for number in range(16)]


def test_an_emoji_arrives_whole_in_a_stream(server: Home) -> None:
    body = {
        "model": "guide",
        "messages": [{"role": "user", "content": "echo: 😀 🚀"}],
        "options": {"temperature": 0},
    }
    lines = httpx.post(f"{server.url}/api/chat", json=body).text.splitlines()
    pieces = [json.loads(line)["message"]["content"] for line in lines]

    assert "".join(pieces) == "😀 🚀"
    assert not any("�" in piece for piece in pieces)


def test_a_killed_runner_gives_an_error_and_the_next_request_works(server: Home) -> None:
    body = {"model": "guide", "messages": HELLO, "options": ENDLESS}
    server.run("run", "guide", "hi")
    runner = runner_of(server)  # known before, since the context is full in a second
    with httpx.stream("POST", f"{server.url}/api/chat", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        os.kill(runner.pid, SIGKILL)
        last = json.loads(list(lines)[-1])

    again = server.run("run", "guide", "What is 7 + 5?", "--temperature", "0")

    assert last["code"] == "runner_died"
    assert "SIGKILL" in last["error"]
    assert "12" in again.stdout


def test_a_killed_server_leaves_no_runner_behind_and_is_told(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    home.run("run", "guide", "hi")
    runner, server = runner_of(home), server_of(home)
    endless = '{"type": "array", "minItems": 9000, "items": {"type": "integer"}}'
    process = home.start("run", "guide", "Tell me a story", "--format", endless)
    assert process.stdout is not None
    process.stdout.read(1)

    server.kill()
    _, complaint = process.communicate(timeout=HANG_S)

    assert process.returncode == 6
    assert b"stopped in the middle of the answer" in complaint
    wait_for(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE)


def test_serve_ends_on_sigterm_and_takes_its_runner_along(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with (tmp_path / "err").open("wb") as log:
        process = subprocess.Popen(
            [*PROGRAM, "serve"], stderr=log, stdout=subprocess.DEVNULL, env=home.environ
        )
    wait_for(lambda: home.run("version", "--json").stdout.count("null") == 0)
    home.run("run", "guide", "hi")
    runner = runner_of(home)

    process.terminate()

    assert process.wait(HANG_S) in {0, -signal.SIGTERM}
    wait_for(lambda: not runner.is_running())
    said = (tmp_path / "err").read_text()
    assert "listening on" in said
    assert "Traceback" not in said


def test_a_second_server_on_the_address_is_told_so(server: Home) -> None:
    done = server.run("serve")

    assert done.returncode == 5
    assert "another program listens on" in done.stderr
