"""Requests of tasks, and results of their outcomes, with a model that does as a test says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.batches.outcome import Outcome
from localrun.evaluation.evaluation import EvaluationOptions, evaluate, log_probability
from localrun.evaluation.tasks import parse_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.batches.requests import BatchRequest
    from localrun.evaluation.evaluation import Result

OPTIONS = EvaluationOptions(model="m", judge="j", max_tokens=9, seed=3)


def ok(body: Any) -> Outcome:
    return Outcome(status=200, body=json.dumps(body).encode())


def said(text: str) -> Outcome:
    return ok({"choices": [{"message": {"content": text}}]})


def scored(tokens: list[tuple[str, float | None]]) -> Any:
    offsets, position = [], 0
    for token, _ in tokens:
        offsets.append(position)
        position += len(token)
    logprobs = {
        "tokens": [token for token, _ in tokens],
        "token_logprobs": [score for _, score in tokens],
        "text_offset": offsets,
    }
    return {"choices": [{"text": "", "logprobs": logprobs}]}


class Model:
    """Echoes prompts; a continuation is the likelier the shorter it is."""

    def __init__(self) -> None:
        self.requests: list[BatchRequest] = []

    def send(self, requests: Sequence[BatchRequest]) -> list[Outcome]:
        self.requests += requests
        return [self._answer(request.path, request.body) for request in requests]

    def _answer(self, path: str, body: dict[str, Any]) -> Outcome:
        if path == "/v1/apply-template":
            if body["messages"][-1]["content"] == "fail":
                return Outcome(status=400, body=b'{"error": {"code": "x", "message": "no"}}')
            return ok({"prompt": f"<u>{body['messages'][-1]['content']}</u>"})
        if path == "/v1/completions" and "echo" in body:
            return ok(scored([(letter, -1.0) for letter in body["prompt"]]))
        if body["model"] == "j":
            passes = "please" in body["messages"][-1]["content"]
            return said(json.dumps({"reason": "rude", "passes": passes}))
        text = body.get("prompt") or body["messages"][-1]["content"]
        if text == "fail":
            return Outcome(status=400, body=b'{"error": {"code": "x", "message": "no"}}')
        return said(text)


def run(*tasks: dict[str, Any], options: EvaluationOptions = OPTIONS) -> tuple[list[Result], Model]:
    model = Model()
    parsed = [parse_task(task, number) for number, task in enumerate(tasks)]
    results = evaluate(parsed, options, model.send)
    assert [result.task for result in results] == parsed
    return results, model


def test_results_are_in_the_order_of_the_tasks() -> None:
    results, model = run(
        {"prompt": "Paris", "exact": "paris"},
        {"prompt": "x", "choices": ["long", "s"], "answer": 1},
        {"prompt": "4", "number": 5},
        {"prompt": "fail", "exact": "x"},
        {"prompt": "Yes, please", "judge": "Is it polite?"},
        {"prompt": "No", "judge": "Is it polite?"},
    )

    assert [result.passes for result in results] == [True, True, False, False, True, False]
    assert [result.is_error for result in results] == [False, False, False, True, False, False]
    assert results[1].answer == "s"
    assert results[5].reason == "rude"
    answered = [each for each in model.requests if each.path == "/v1/chat/completions"]
    assert answered[0].body["seed"] == 3
    assert answered[0].body["max_tokens"] == 9


def test_choices_continue_the_rendered_prompt_unless_it_is_raw() -> None:
    task = {"prompt": "x", "choices": [" a", " b"], "answer": 0}

    _, rendered = run(task)
    _, raw = run(task, options=EvaluationOptions(model="m", is_raw=True))

    assert [each.body.get("prompt") for each in rendered.requests][1:] == [
        "<u>x</u> a",
        "<u>x</u> b",
    ]
    assert [each.body["prompt"] for each in raw.requests] == ["x a", "x b"]


def test_choices_whose_prompt_cannot_be_rendered_are_errors() -> None:
    results, model = run(
        {"prompt": "fail", "choices": [" a", " b"], "answer": 0},
        {"prompt": "x", "choices": ["long", "s"], "answer": 1},
    )

    assert [(each.passes, each.is_error, each.reason) for each in results] == [
        (False, True, "no"),
        (True, False, ""),
    ]
    assert "fail a" not in [each.body.get("prompt") for each in model.requests]


def test_a_schema_holds_the_model_to_it() -> None:
    _, model = run({"prompt": '{"a": 1}', "schema": {"type": "object"}})

    (request,) = model.requests
    assert request.body["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_only_the_tokens_of_the_choice_count() -> None:
    body = json.dumps(scored([("ab", None), ("cd", -1.0), ("ef", -2.0), ("g", -4.0)])).encode()

    assert log_probability(body, 4) == -6.0
    assert log_probability(body, 5) == -6.0  # a token that begins before them
    assert log_probability(body, 0) == -7.0
