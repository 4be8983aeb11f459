"""Lines of outcomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localrun.batches.input_file import InputFormat
from localrun.batches.outcome import Outcome, OutcomeWriter

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


def answered(text: str) -> Outcome:
    body = {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 3}}
    return Outcome(status=200, body=json.dumps(body).encode(), request_id="r")


FAILED = Outcome(status=404, body=b'{"error": {"code": "model_not_found", "message": "no"}}')


def line(writer: OutcomeWriter, outcome: Outcome, **fields: Any) -> Any:
    checked = writer.checked(CHAT, outcome)
    content = writer.line(7, "a", CHAT, fields, checked)
    assert content.endswith(b"\n")
    assert content.count(b"\n") == 1
    return content.decode()


def test_the_answer_joins_the_fields_of_the_record() -> None:
    writer = OutcomeWriter(form=InputFormat.JSONL)

    assert json.loads(line(writer, answered("yes\nno"), id=1)) == {"id": 1, "answer": "yes\nno"}
    assert json.loads(line(writer, FAILED, id=1)) == {
        "id": 1,
        "error": {"code": "model_not_found", "message": "no"},
    }
    assert json.loads(line(writer, answered("x")))["line"] == 7


@pytest.mark.parametrize("separators", [(",", ":"), (",\n ", ": ")])
def test_a_line_of_openai_has_the_whole_response(separators: tuple[str, str]) -> None:
    body = json.dumps({"choices": []}, separators=separators).encode()
    writer = OutcomeWriter(form=InputFormat.OPENAI)

    found = json.loads(line(writer, Outcome(status=200, body=body, request_id="r")))

    assert found == {
        "id": "batch_req_7",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "r", "body": {"choices": []}},
        "error": None,
    }


def test_an_error_of_openai_has_no_response() -> None:
    writer = OutcomeWriter(form=InputFormat.OPENAI)

    found = json.loads(line(writer, Outcome(code="x", message="why")))

    assert (found["response"], found["error"]) == (None, {"code": "x", "message": "why"})


def test_wanted_fields_replace_the_answer() -> None:
    writer = OutcomeWriter(form=InputFormat.TEXT, wanted=("a", "b"))

    assert json.loads(line(writer, answered('{"a": 1, "b": "x", "c": 2}'))) == {
        "line": 7,
        "a": 1,
        "b": "x",
    }
    assert json.loads(line(writer, answered('{"a": 1}')))["error"]["message"].endswith("'b'")
    assert json.loads(line(writer, answered("no")))["error"]["code"] == "no_json"


def test_an_answer_cut_off_at_its_limit_says_so() -> None:
    writer = OutcomeWriter(form=InputFormat.TEXT, parses=True)
    choice = {"message": {"content": '{"a": "x'}, "finish_reason": "length"}
    body = {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}

    found = json.loads(line(writer, Outcome(status=200, body=json.dumps(body).encode())))

    assert found["error"]["code"] == "cut_off"
    assert "after 9 tokens" in found["error"]["message"]


def test_an_answer_with_a_schema_is_json() -> None:
    writer = OutcomeWriter(form=InputFormat.TEXT, parses=True)

    assert json.loads(line(writer, answered('{"a": 1}')))["answer"] == {"a": 1}


def test_a_table_has_the_columns_of_the_input() -> None:
    writer = OutcomeWriter(form=InputFormat.CSV, columns=("id", "text"), as_csv=True)

    assert writer.head == b"id,text,answer,error\n"
    assert line(writer, answered('say "x"'), id="1", text="a,b") == '1,"a,b","say ""x""",\n'
    assert line(writer, FAILED, id="1", text="") == "1,,,no\n"


def test_a_table_of_plain_lines_has_their_numbers() -> None:
    writer = OutcomeWriter(form=InputFormat.TEXT, as_csv=True, delimiter="\t", wanted=("a",))

    assert writer.head == b"line\ta\terror\n"
    assert line(writer, answered('{"a": [1]}'), text="x") == "7\t[1]\t\n"


def test_vectors_texts_and_tokens_are_found() -> None:
    vector = Outcome(status=200, body=b'{"data": [{"embedding": [0.5]}]}')
    text = Outcome(status=200, body=b'{"choices": [{"text": "x"}]}')

    assert vector.answer(EMBEDDINGS) == [0.5]
    assert text.answer("/v1/completions") == "x"
    assert answered("x").num_tokens() == (3, 0)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "text"}'])
def test_an_error_that_is_not_openais_is_shown_as_it_is(body: bytes) -> None:
    error = Outcome(status=502, body=body).error()

    assert error["code"] == "502"
    assert error["message"] == body.decode()


def test_a_lone_surrogate_is_escaped_and_in_a_table_replaced() -> None:
    answer = answered("\ud800 é")

    in_json = line(OutcomeWriter(form=InputFormat.JSONL), answer, id="\udfff")
    in_csv = line(OutcomeWriter(form=InputFormat.JSONL, as_csv=True), answer)

    assert json.loads(in_json) == {"id": "\udfff", "answer": "\ud800 é"}
    assert in_csv == "7,? é,\n"
