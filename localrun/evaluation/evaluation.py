"""Evaluation of one model: the requests of its tasks, and the results of their answers.

Stages: prompts of multiple choices are rendered, answers and log probabilities are asked for, and
answers that need a judge are judged. Knows requests and outcomes, and no connection: it sends
through a function.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from localrun.batches.requests import CHAT, BatchRequest
from localrun.evaluation.grading import grade
from localrun.evaluation.tasks import TaskKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.batches.outcome import Outcome
    from localrun.evaluation.tasks import Task

COMPLETIONS, TEMPLATE = "/v1/completions", "/v1/apply-template"
JUDGE_SYSTEM = "You judge answers. Decide by the question alone, and be strict."
VERDICT = {
    "type": "object",
    "properties": {"reason": {"type": "string", "maxLength": 300}, "passes": {"type": "boolean"}},
    "required": ["reason", "passes"],
    "additionalProperties": False,
}
MAX_JUDGED = 20_000  # characters of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one task."""

    task: Task
    passes: bool
    answer: str = ""
    reason: str = ""  # why it does not pass
    is_error: bool = False  # it was not answered at all


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """How tasks are asked."""

    model: str
    judge: str | None = None
    max_tokens: int | None = None
    seed: int | None = None
    is_raw: bool = False  # prompts are not rendered by the chat template
    sampling: dict[str, Any] = field(default_factory=dict)


def evaluate(
    tasks: Sequence[Task],
    options: EvaluationOptions,
    send: Callable[[Sequence[BatchRequest]], list[Outcome]],
) -> list[Result]:
    """Return the results of tasks, in their order; ``send`` keeps the order of requests."""
    with_choices = [task for task in tasks if task.kind is TaskKind.CHOICES]
    others = [task for task in tasks if task.kind is not TaskKind.CHOICES]
    by_id = {id(result.task): result for result in _choose(with_choices, options, send)}
    outcomes = send([_request(task, options) for task in others])
    results = [_graded(task, outcome) for task, outcome in zip(others, outcomes, strict=True)]
    by_id |= {id(result.task): result for result in _judged(results, options, send)}
    return [by_id[id(task)] for task in tasks]


def _request(task: Task, options: EvaluationOptions) -> BatchRequest:
    """Return the request for an answer in text."""
    body: dict[str, Any] = {"model": options.model, **options.sampling}
    if options.max_tokens is not None:
        body["max_tokens"] = options.max_tokens
    if options.seed is not None:
        body["seed"] = options.seed
    if task.kind is TaskKind.SCHEMA:
        schema = {"name": "answer", "schema": task.target, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if options.is_raw:
        return BatchRequest(path=COMPLETIONS, body={**body, "prompt": task.prompt})
    return BatchRequest(path=CHAT, body={**body, "messages": list(task.messages)})


def _graded(task: Task, outcome: Outcome) -> Result:
    if not outcome.is_ok:
        return Result(task=task, passes=False, reason=outcome.error()["message"], is_error=True)
    answer = outcome.answer(CHAT)
    text = answer if isinstance(answer, str) else ""
    if task.kind is TaskKind.JUDGE:
        return Result(task=task, passes=False, answer=text)
    reason = grade(task, text)
    return Result(task=task, passes=reason is None, answer=text, reason=reason or "")


def _judged(
    results: Sequence[Result],
    options: EvaluationOptions,
    send: Callable[[Sequence[BatchRequest]], list[Outcome]],
) -> list[Result]:
    """Return the results with those of a judge in place of answers that wait for one."""
    waiting = [
        result for result in results if result.task.kind is TaskKind.JUDGE and not result.is_error
    ]
    outcomes = send([_judgement(result, options) for result in waiting])
    verdicts = {
        id(result.task): _verdict(result, outcome)
        for result, outcome in zip(waiting, outcomes, strict=True)
    }
    return [verdicts.get(id(result.task), result) for result in results]


def _judgement(result: Result, options: EvaluationOptions) -> BatchRequest:
    task = result.task
    text = (
        f"A model was asked:\n\n{task.prompt}\n\nIt answered:\n\n{result.answer[:MAX_JUDGED]}\n\n"
        f"Question: {task.target}\nDoes the answer pass?"
    )
    messages = [{"role": "system", "content": JUDGE_SYSTEM}, {"role": "user", "content": text}]
    schema = {"name": "verdict", "schema": VERDICT, "strict": True}
    body = {
        "model": options.judge or options.model,
        "messages": messages,
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    return BatchRequest(path=CHAT, body=body)


def _verdict(result: Result, outcome: Outcome) -> Result:
    try:
        verdict = json.loads(str(outcome.answer(CHAT))) if outcome.is_ok else None
    except (ValueError, RecursionError):
        verdict = None
    if not isinstance(verdict, dict) or not isinstance(verdict.get("passes"), bool):
        reason = outcome.error()["message"] if not outcome.is_ok else "the judge gave no verdict"
        return Result(
            task=result.task, passes=False, answer=result.answer, reason=reason, is_error=True
        )
    reason = "" if verdict["passes"] else str(verdict.get("reason", ""))[:500]
    return Result(task=result.task, passes=verdict["passes"], answer=result.answer, reason=reason)


def _choose(
    tasks: Sequence[Task],
    options: EvaluationOptions,
    send: Callable[[Sequence[BatchRequest]], list[Outcome]],
) -> list[Result]:
    """Return the results of multiple choices: the likeliest continuation of the prompt wins.

    The log probability of a choice is the sum of those of its tokens, as lm-evaluation-harness
    has it (``acc``).
    """
    prompts = _prompts(tasks, options, send)
    pairs = list(zip(tasks, prompts, strict=True))
    rendered = [(task, prompt) for task, prompt in pairs if isinstance(prompt, str)]
    results = [
        Result(task=task, passes=False, reason=prompt.error()["message"], is_error=True)
        for task, prompt in pairs
        if not isinstance(prompt, str)
    ]
    requests = [
        _scored(f"{prompt}{choice}", options)
        for task, prompt in rendered
        for choice in task.choices
    ]
    outcomes = iter(send(requests))
    for task, prompt in rendered:
        scored = [next(outcomes) for _ in task.choices]
        failed = next((outcome for outcome in scored if not outcome.is_ok), None)
        if failed is not None:
            reason = failed.error()["message"]
            results.append(Result(task=task, passes=False, reason=reason, is_error=True))
            continue
        sums = [log_probability(outcome.body, len(prompt)) for outcome in scored]
        best = max(range(len(sums)), key=sums.__getitem__)
        reason = "" if best == task.target else f"{task.choices[task.target]!r} is less likely"
        results.append(
            Result(task=task, passes=best == task.target, answer=task.choices[best], reason=reason)
        )
    return results


def _prompts(
    tasks: Sequence[Task],
    options: EvaluationOptions,
    send: Callable[[Sequence[BatchRequest]], list[Outcome]],
) -> list[str | Outcome]:
    """Return the prompts up to the choices, rendered by the chat template unless they are raw.

    An outcome stands for a prompt that cannot be rendered: without the template, the figures of its
    task would be those of another test.
    """
    if options.is_raw:
        return [task.prompt for task in tasks]
    requests = [
        BatchRequest(path=TEMPLATE, body={"model": options.model, "messages": list(task.messages)})
        for task in tasks
    ]
    return [
        json.loads(outcome.body)["prompt"] if outcome.is_ok else outcome
        for outcome in send(requests)
    ]


def _scored(text: str, options: EvaluationOptions) -> BatchRequest:
    body = {
        "model": options.model,
        "prompt": text,
        "echo": True,
        "logprobs": 1,
        "max_tokens": 0,
        "temperature": 0,
    }
    return BatchRequest(path=COMPLETIONS, body=body)


def log_probability(body: bytes, num_prompt: int) -> float:
    """Return the log probability of the text behind ``num_prompt`` characters of an echo.

    A token that begins before them and ends behind counts.
    """
    (choice, *_) = json.loads(body)["choices"]
    scores = choice["logprobs"]
    total = 0.0
    for token, score, offset in zip(
        scores["tokens"], scores["token_logprobs"], scores["text_offset"], strict=True
    ):
        if score is not None and offset + len(token) > num_prompt:
            total += score
    return total
