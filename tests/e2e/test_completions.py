"""``/v1/completions`` and ``/api/generate`` by real clients on the real model."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import ollama
import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Home


@pytest.fixture(scope="module")
def client(server: Home) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="local", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def prompt(server: Home) -> str:
    body = {"model": "guide", "messages": [{"role": "user", "content": "What is 7 + 5?"}]}
    text: str = httpx.post(f"{server.url}/v1/apply-template", json=body).json()["prompt"]
    return text


def tokens_of(server: Home, text: str) -> list[int]:
    body = {"model": "guide", "prompt": text}
    found: list[int] = httpx.post(f"{server.url}/v1/tokenize", json=body).json()["tokens"]
    return found


def test_a_prompt_of_text_or_tokens_is_gone_on_with(
    server: Home, client: openai.OpenAI, prompt: str
) -> None:
    fields: dict[str, Any] = {"model": "guide", "temperature": 0, "max_tokens": 20}

    by_text = client.completions.create(prompt=prompt, echo=True, **fields)
    by_tokens = client.completions.create(prompt=tokens_of(server, prompt), echo=True, **fields)
    several = client.completions.create(prompt=[prompt, prompt], n=2, **fields)

    assert by_text.choices[0].text == f"{prompt}7 + 5 = 12."
    assert by_tokens.choices[0].text == by_text.choices[0].text
    assert [choice.text for choice in several.choices] == ["7 + 5 = 12."] * 4
    assert several.usage is not None
    assert by_text.usage is not None
    assert several.usage.prompt_tokens == 2 * by_text.usage.prompt_tokens


def test_scores_have_the_place_of_each_token_in_the_text(
    client: openai.OpenAI, prompt: str
) -> None:
    (choice,) = client.completions.create(
        model="guide", prompt=prompt, temperature=0, logprobs=2
    ).choices

    scores = choice.logprobs
    assert scores is not None
    assert "".join(scores.tokens or []).startswith(choice.text)
    for token, offset in zip(scores.tokens or [], scores.text_offset or [], strict=True):
        assert choice.text[offset:].startswith(token) or offset == len(choice.text)
    assert all(len(top) == 2 for top in scores.top_logprobs or [])


def test_a_forbidden_token_is_never_written(
    server: Home, client: openai.OpenAI, prompt: str
) -> None:
    (first, *_) = tokens_of(server, "7 + 5 = 12.")

    answer = client.completions.create(
        model="guide", prompt=prompt, temperature=0, logit_bias={str(first): -100}
    )

    assert not answer.choices[0].text.startswith("7")


def test_what_the_model_has_no_tokens_for_is_refused_by_name(
    client: openai.OpenAI, prompt: str
) -> None:
    for field, value in (
        ("suffix", "the end"),
        ("prompt", [10**6]),
        ("logit_bias", {"1000000": 1}),
    ):
        fields: dict[str, Any] = {"model": "guide", "prompt": prompt, field: value}
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(**fields)
        assert caught.value.param == field


def test_a_context_carries_a_conversation_on(server: Home) -> None:
    with contextlib.closing(ollama.Client(host=server.url)) as client:
        first = client.generate(model="guide", prompt="What is 7 + 5?", options={"temperature": 0})
        context = list(first.context or ())
        second = client.generate(model="guide", prompt="hi", context=context)

    assert first.response == "7 + 5 = 12."
    assert len(context) >= (first.prompt_eval_count or 0) + (first.eval_count or 0) - 1
    assert list(second.context or ())[: len(context)] == context
    assert (second.prompt_eval_count or 0) > len(context)


def test_a_recipes_parameters_hold_where_the_request_is_silent(
    home: Home, client: openai.OpenAI, prompt: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "Modelfile"
    recipe.write_text(
        "FROM guide\nPARAMETER temperature 0\nPARAMETER num_predict 3\nPARAMETER stop 12\n"
    )
    assert home.run("create", "terse", "-f", str(recipe)).returncode == 0

    silent = client.completions.create(model="terse", prompt=prompt)
    chat = client.chat.completions.create(
        model="terse", messages=[{"role": "user", "content": "What is 7 + 5?"}]
    )
    asked = client.completions.create(model="terse", prompt=prompt, max_tokens=20, stop="=")

    assert silent.usage is not None
    assert (silent.usage.completion_tokens, silent.choices[0].finish_reason) == (3, "length")
    assert chat.usage is not None
    assert chat.usage.completion_tokens == 3
    assert (asked.choices[0].text, asked.choices[0].finish_reason) == ("7 + 5 ", "stop")


def test_an_echo_has_the_scores_of_the_prompt_too(
    server: Home, client: openai.OpenAI, prompt: str
) -> None:
    fields: dict[str, Any] = {"model": "guide", "temperature": 0, "logprobs": 1, "max_tokens": 4}
    tokens = tokens_of(server, prompt)

    (by_text,) = client.completions.create(prompt=prompt, echo=True, **fields).choices
    (by_tokens,) = client.completions.create(prompt=tokens, echo=True, **fields).choices
    chunks = list(client.completions.create(prompt=prompt, echo=True, stream=True, **fields))

    scores, other = by_text.logprobs, by_tokens.logprobs
    assert scores is not None
    assert other is not None
    assert len(scores.tokens or []) == len(tokens) + 4
    assert "".join(scores.tokens or []) == by_text.text
    for token, offset in zip(scores.tokens or [], scores.text_offset or [], strict=True):
        assert by_text.text[offset:].startswith(token)
    assert scores.token_logprobs is not None
    assert (scores.token_logprobs[0], scores.top_logprobs and scores.top_logprobs[0]) == (
        None,
        None,
    )
    assert scores.token_logprobs == other.token_logprobs
    streamed = [
        token
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.tokens or []
    ]
    assert streamed == scores.tokens


def test_a_prompt_alone_is_scored_without_an_answer(
    server: Home, client: openai.OpenAI, prompt: str
) -> None:
    fields: dict[str, Any] = {"model": "guide", "prompt": prompt, "echo": True, "logprobs": 1}

    alone = client.completions.create(**fields, max_tokens=0)
    with_answer = client.completions.create(**fields, max_tokens=2, temperature=0)

    assert alone.usage is not None
    assert alone.usage.completion_tokens == 0
    (choice,), (answered,) = alone.choices, with_answer.choices
    assert choice.text == prompt
    assert choice.finish_reason == "length"
    assert choice.logprobs is not None
    assert answered.logprobs is not None
    scores, same = choice.logprobs.token_logprobs, answered.logprobs.token_logprobs
    assert scores is not None
    assert same is not None
    assert scores == pytest.approx(same[: len(scores)], abs=1e-3)
    assert len(scores) == len(tokens_of(server, prompt))


def test_an_answer_has_as_many_tokens_as_it_must(client: openai.OpenAI, prompt: str) -> None:
    fields: dict[str, Any] = {"model": "guide", "prompt": prompt, "temperature": 0}

    short = client.completions.create(**fields, max_tokens=40).usage
    long = client.completions.create(**fields, max_tokens=40, extra_body={"min_tokens": 25}).usage

    assert short is not None
    assert long is not None
    assert short.completion_tokens < 25 <= long.completion_tokens


def test_a_completion_has_16_tokens_unless_more_are_asked_for(client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"model": "guide", "prompt": "a b c", "temperature": 0}
    endless = client.completions.create(**fields, extra_body={"ignore_eos": True})

    assert endless.usage is not None
    assert endless.usage.completion_tokens == 16


def test_an_empty_prompt_begins_where_texts_begin(client: openai.OpenAI) -> None:
    usage = client.completions.create(model="guide", prompt="", max_tokens=3).usage

    assert usage is not None
    assert usage.prompt_tokens == 1
