"""Requests of records."""

from __future__ import annotations

from typing import Any

import pytest

from localrun.batches.input_file import InputFormat
from localrun.batches.requests import RequestTemplate, check_options, make_request
from localrun.batches.template import parse_template
from localrun.errors import UsageError

TEXT, JSONL, OPENAI = InputFormat.TEXT, InputFormat.JSONL, InputFormat.OPENAI
LINE = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
}


def options(**changed: Any) -> RequestTemplate:
    return RequestTemplate(model="guide:latest", **changed)


def messages_of(fields: dict[str, Any], **changed: Any) -> Any:
    return make_request(JSONL, fields, options(**changed)).body["messages"]


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"text": "a"}, "a"),
        ({"prompt": "a", "text": "b"}, "a"),
        ({"id": 1, "question": "a"}, "a"),
        ({"review": "a"}, "a"),
        ({"text": ["a"]}, '["a"]'),
    ],
)
def test_the_prompt_is_the_field_that_is_known_or_alone(
    fields: dict[str, Any], prompt: str
) -> None:
    assert messages_of(fields) == [{"role": "user", "content": prompt}]


def test_a_column_a_template_and_a_system_prompt() -> None:
    fields = {"text": "t", "review": "r", "messages": []}

    assert messages_of(fields, column="review")[0]["content"] == "r"
    assert messages_of(fields, template=parse_template("Is {review} good?"))[0]["content"] == (
        "Is r good?"
    )
    assert messages_of({"text": "t"}, system="Be short.")[0] == {
        "role": "system",
        "content": "Be short.",
    }


def test_messages_are_sent_as_they_are() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]

    assert messages_of({"messages": messages}) == messages


def test_an_embedding_model_gets_the_prompt_as_input() -> None:
    request = make_request(TEXT, {"text": "a"}, options(embeds=True))

    assert (request.path, request.body) == (
        "/v1/embeddings",
        {"model": "guide:latest", "input": "a"},
    )


def test_options_are_in_the_body() -> None:
    schema = {"type": "object"}
    changed = options(max_tokens=7, sampling={"temperature": 0}, schema=schema)

    body = make_request(TEXT, {"text": "a"}, changed).body
    response = make_request(
        OPENAI, {**LINE, "url": "/v1/responses", "body": {"input": "a"}}, changed
    ).body

    assert (body["max_tokens"], body["temperature"]) == (7, 0)
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert response["max_output_tokens"] == 7
    assert response["text"]["format"]["schema"] == schema


def test_a_request_of_openai_gets_the_model_of_the_command() -> None:
    request = make_request(OPENAI, LINE, options())

    assert request.custom_id == "a"
    assert request.body == {**LINE["body"], "model": "guide:latest"}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "changed",
    [
        {"custom_id": 3},
        {"custom_id": "x" * 513},
        {"method": "GET"},
        {"url": "/api/chat"},
        {"body": []},
        {"body": {"stream": True}},
    ],
)
def test_a_wrong_request_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_request(OPENAI, {**LINE, **changed}, options())


def test_a_record_without_a_prompt_is_refused() -> None:
    with pytest.raises(UsageError, match="none of the fields messages, prompt"):
        make_request(JSONL, {"a": 1, "b": 2}, options())


def test_prompts_that_begin_alike_have_the_same_beginning() -> None:
    first, second = (
        make_request(TEXT, {"text": "x" * 1000 + end}, options()).beginning for end in "ab"
    )

    assert first == second != make_request(TEXT, {"text": "y"}, options()).beginning


@pytest.mark.parametrize(
    ("form", "columns", "changed", "message"),
    [
        (OPENAI, (), {"system": "x"}, "--system"),
        (OPENAI, (), {"column": "x"}, "--column"),
        (TEXT, (), {"column": "x", "template": parse_template("{a}")}, "exclude"),
        (TEXT, (), {"column": "x"}, "a line of text has no field 'x'"),
        (TEXT, (), {"template": parse_template("{text} {b}")}, "no field 'b'"),
        (InputFormat.CSV, ("a", "b"), {}, "none of the columns a, b"),
        (InputFormat.CSV, ("a", "b"), {"column": "c"}, "no column 'c'"),
        (InputFormat.CSV, ("a", "b"), {"template": parse_template("{d}")}, "no column 'd'"),
    ],
)
def test_an_option_that_no_record_can_honour_is_refused(
    form: InputFormat, columns: tuple[str, ...], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_options(form, columns, options(**changed))
