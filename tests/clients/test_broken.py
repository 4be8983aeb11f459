"""A runner that dies in the middle of an answer: each client raises an error of its own."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import anthropic
import ollama
import openai
import pytest

from tests.server.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.serving import Served

DIE: list[Any] = [{"role": "user", "content": "die"}]
SAID = "went away in the middle of the answer"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as found:
        yield found


def test_openais_client_raises(served: Served) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="local", max_retries=0) as client:
        chunks = client.chat.completions.create(model="fake", messages=DIE, stream=True)
        with pytest.raises(openai.APIError, match=SAID):
            list(chunks)
        with pytest.raises(openai.InternalServerError, match=SAID):
            client.chat.completions.create(model="fake", messages=DIE)


def test_anthropics_client_raises(served: Served) -> None:
    asked: dict[str, Any] = {"model": "fake", "max_tokens": 9, "messages": DIE}

    with anthropic.Anthropic(base_url=served.url, api_key="local", max_retries=0) as client:
        with client.messages.stream(**asked) as stream:
            with pytest.raises(anthropic.APIStatusError, match=SAID):
                stream.get_final_message()
        with pytest.raises(anthropic.InternalServerError, match=SAID):
            client.messages.create(**asked)


def test_ollamas_client_raises(served: Served) -> None:
    with closing(ollama.Client(host=served.url)) as client:
        with pytest.raises(ollama.ResponseError, match=SAID):
            list(client.chat("fake", DIE, stream=True))
        with pytest.raises(ollama.ResponseError, match=SAID):
            client.chat("fake", DIE)
