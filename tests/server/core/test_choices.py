"""Several answers, log probabilities and full contexts, as the APIs word them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.engine.params import FinishReason
from localrun.server.core.request import AnswerFinished, AnswerStarted
from localrun.server.openai.chat_builder import usage_json
from tests.fakes.requests import finished
from tests.server.openai.test_api import chat, events

if TYPE_CHECKING:
    from tests.server.serving import Served

DROPPED = {"dropped_messages": 2, "dropped_tokens": 30}


def ollama(served: Served, path: str, **fields: Any) -> list[Any]:
    body = {
        "model": "fake",
        "messages": [{"role": "user", "content": "say a b"}],
        "prompt": "say a b",
        **fields,
    }
    response = httpx.post(f"{served.url}/api/{path}", json=body)
    return [json.loads(line) for line in response.text.splitlines()]


def asked(served: Served, **fields: Any) -> list[dict[str, Any]]:
    """Return the requests that reached the runner, one a choice."""
    choices = chat(served, "echo", **fields).json()["choices"]
    return [json.loads(choice["message"]["content"]) for choice in choices]


def test_choices_have_seeds_of_their_own_and_one_usage(served: Served) -> None:
    body = chat(served, "say one two", n=3, seed=7).json()

    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in body["choices"]} == {"one two"}
    assert {choice["finish_reason"] for choice in body["choices"]} == {"stop"}
    usage = body["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (5, 6, 11)
    assert [one["sampling"]["seed"] for one in asked(served, n=3, seed=7)] == [7, 8, 9]
    assert [one["sampling"]["seed"] for one in asked(served, n=2)] == [None, None]


def test_each_choice_of_a_stream_has_its_role_text_and_end(served: Served) -> None:
    found = events(
        chat(served, "say a b", n=3, stream=True, stream_options={"include_usage": True})
    )

    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["completion_tokens"] == 6
    assert len({event["id"] for event in found}) == 1
    for index in range(3):
        mine = [
            event["choices"][0] for event in found[:-1] if event["choices"][0]["index"] == index
        ]
        assert [choice["delta"] for choice in mine] == [
            {"role": "assistant", "content": ""},
            {"content": "a"},
            {"content": " b"},
            {},
        ]
        assert [choice["finish_reason"] for choice in mine] == [None, None, None, "stop"]


def test_an_error_of_one_choice_ends_the_stream_once(served: Served) -> None:
    found = events(chat(served, "die", n=2, stream=True))

    assert [event["error"]["code"] for event in found if "error" in event] == ["runner_died"]
    assert chat(served, "fail", n=2, stream=True).status_code == 400


def test_scores_come_with_their_text(served: Served) -> None:
    fields: dict[str, Any] = {"logprobs": True, "top_logprobs": 1}

    whole = chat(served, "say é b", **fields).json()["choices"][0]["logprobs"]
    streamed = events(chat(served, "say é b", stream=True, **fields))

    assert whole["content"] == [
        {
            "token": "é",
            "logprob": -0.5,
            "bytes": [195, 169],
            "top_logprobs": [{"token": "é", "logprob": -1.0, "bytes": [195, 169]}],
        },
        {
            "token": " b",
            "logprob": -0.5,
            "bytes": [32, 98],
            "top_logprobs": [{"token": " ", "logprob": -1.0, "bytes": [32]}],
        },
    ]
    told = [event["choices"][0] for event in streamed]
    assert [choice["logprobs"] for choice in told] == [
        None,
        *({"content": [one], "refusal": None} for one in whole["content"]),
        None,
    ]


def test_scores_of_a_call_that_came_whole_are_not_lost(served: Served) -> None:
    call = '<tool_call>{"name":"t","arguments":{"a":1}}'

    found = events(chat(served, f"say {call} </tool_call>", stream=True, logprobs=True))

    scores = [event["choices"][0]["logprobs"] for event in found]
    tokens = [one["token"] for score in scores if score for one in score["content"]]
    assert "".join(tokens) == f"{call} </tool_call>"


@pytest.mark.parametrize("path", ["chat", "generate"])
def test_ollama_tells_scores_in_each_frame(served: Served, path: str) -> None:
    frames = ollama(served, path, logprobs=True, top_logprobs=1)
    (whole,) = ollama(served, path, logprobs=True, stream=False)

    assert [[one["token"] for one in frame.get("logprobs", [])] for frame in frames] == [
        ["a"],
        [" b"],
        [],
    ]
    assert frames[0]["logprobs"][0]["top_logprobs"] == [
        {"token": "a", "logprob": -1.0, "bytes": [97]}
    ]
    assert whole["logprobs"][1] == {"token": " b", "logprob": -0.5, "bytes": [32, 98]}


def test_nobody_gets_scores_unasked(served: Served) -> None:
    assert asked(served)[0]["logprobs"] is None
    assert asked(served, logprobs=True)[0]["logprobs"] == 0
    assert "logprobs" not in ollama(served, "chat")[0]


def test_what_was_dropped_is_told_at_the_end(served: Served) -> None:
    whole = chat(served, "say a", overflow="drop").json()
    streamed = events(chat(served, "say a", overflow="drop", stream=True))
    shifted = chat(served, "say a", overflow="shift", n=2).json()
    frames = ollama(served, "chat", options={"overflow": "drop"})

    assert whole["localrun"] == DROPPED
    assert [event.get("localrun") for event in streamed] == [None, None, DROPPED]
    assert shifted["localrun"] == {"dropped_messages": 0, "dropped_tokens": 7}
    assert frames[-1]["localrun"] == DROPPED
    assert "localrun" not in chat(served, "say a").json()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (True, True, None)),
        ({"truncate": True}, (True, True, None)),
        ({"shift": False, "options": {"num_keep": 9}}, (True, False, 9)),
        ({"truncate": False}, (False, True, None)),
        ({"truncate": False, "shift": False}, (False, False, None)),
        ({"truncate": True, "options": {"overflow": "shift"}}, (False, True, None)),
    ],
)
def test_ollamas_own_fields_choose_the_policy(
    served: Served, fields: dict[str, Any], expected: tuple[bool, bool, int | None]
) -> None:
    frames = ollama(
        served, "chat", messages=[{"role": "user", "content": "echo"}], stream=False, **fields
    )

    policy = json.loads(frames[0]["message"]["content"])["overflow"]
    assert (policy["drops"], policy["shifts"], policy["num_keep"]) == expected


def test_ignore_eos_reaches_the_runner(served: Served) -> None:
    assert asked(served, ignore_eos=True)[0]["sampling"]["ignore_eos"] is True


def test_a_prediction_is_accounted_for_where_there_was_one() -> None:
    end = finished(prompt_tokens=5, cached_tokens=0, generated_tokens=9, reason=FinishReason.STOP)
    done = AnswerFinished(finished=end, started=AnswerStarted(), load_s=0, total_s=0)
    predicted = replace(done, finished=replace(end, predicted_right=4, predicted_wrong=1))

    assert usage_json([done])["completion_tokens_details"] == {"reasoning_tokens": 0}
    assert usage_json([predicted, predicted])["completion_tokens_details"] == {
        "reasoning_tokens": 0,
        "accepted_prediction_tokens": 8,
        "rejected_prediction_tokens": 2,
    }


def test_draft_tokens_of_other_sources_are_accounted_for_too() -> None:
    end = finished(prompt_tokens=5, cached_tokens=0, generated_tokens=9, reason=FinishReason.STOP)
    end = replace(end, drafted_tokens=7, accepted_tokens=4)
    done = AnswerFinished(finished=end, started=AnswerStarted(), load_s=0, total_s=0)

    assert usage_json([done])["completion_tokens_details"] == {
        "reasoning_tokens": 0,
        "accepted_prediction_tokens": 4,
        "rejected_prediction_tokens": 3,
    }
