"""What goes wrong comes out of each client as the error that it has for that.

Tests import anthropic themselves: it takes a second, and each process of a run collects all files.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import ollama
import openai
import pytest

from localrun.server.middleware.keys import Keys
from tests.server.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    import anthropic

    from tests.server.serving import Served

KEY = "s3cret"
HI: list[Any] = [{"role": "user", "content": "say hi"}]
DIE: list[Any] = [{"role": "user", "content": "die"}]
SAID = "stopped in the middle of the answer"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(keys=Keys({"laptop": KEY})) as found:
        yield found


@pytest.fixture
def fragile() -> Iterator[Served]:
    """Serve with no crashes behind it: a model that crashes often is not loaded for a while."""
    with serving(keys=Keys({"laptop": KEY})) as found:
        yield found


def openai_client(served: Served, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0)


def anthropic_client(served: Served, key: str = KEY) -> anthropic.Anthropic:
    import anthropic

    return anthropic.Anthropic(base_url=served.url, api_key=key, max_retries=0)


def ollama_client(served: Served, key: str = KEY) -> ollama.Client:
    return ollama.Client(host=served.url, headers={"Authorization": f"Bearer {key}"})


def test_openais_client_is_told_of_a_runner_that_dies(fragile: Served) -> None:
    with openai_client(fragile) as client:
        chunks = client.chat.completions.create(model="fake", messages=DIE, stream=True)
        with pytest.raises(openai.APIError, match=SAID):
            list(chunks)
        with pytest.raises(openai.InternalServerError, match=SAID):
            client.chat.completions.create(model="fake", messages=DIE)


def test_anthropics_client_is_told_of_it(fragile: Served) -> None:
    import anthropic

    asked: dict[str, Any] = {"model": "fake", "max_tokens": 9, "messages": DIE}

    with anthropic_client(fragile) as client:
        with client.messages.stream(**asked) as stream:
            with pytest.raises(anthropic.APIStatusError, match=SAID):
                stream.get_final_message()
        with pytest.raises(anthropic.InternalServerError, match=SAID):
            client.messages.create(**asked)


def test_ollamas_client_is_told_of_it(fragile: Served) -> None:
    with closing(ollama_client(fragile)) as client:
        with pytest.raises(ollama.ResponseError, match=SAID):
            list(client.chat("fake", DIE, stream=True))
        with pytest.raises(ollama.ResponseError, match=SAID):
            client.chat("fake", DIE)


def test_openais_client_is_told_that_its_key_is_wrong(served: Served) -> None:
    with openai_client(served, "wrong") as client:
        with pytest.raises(openai.AuthenticationError, match="key"):
            client.chat.completions.create(model="fake", messages=HI)


def test_anthropics_client_is_told_that_its_key_is_wrong(served: Served) -> None:
    import anthropic

    with anthropic_client(served, "wrong") as client:
        with pytest.raises(anthropic.AuthenticationError, match="key"):
            client.messages.create(model="fake", max_tokens=9, messages=HI)


def test_ollamas_client_is_told_that_its_key_is_wrong(served: Served) -> None:
    with closing(ollama_client(served, "wrong")) as client:
        with pytest.raises(ollama.ResponseError, match="key") as told:
            client.chat("fake", HI)

    assert told.value.status_code == 401
