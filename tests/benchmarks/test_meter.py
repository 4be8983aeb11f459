"""The meter, on servers that answer anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from localrun.benchmarks.meter import Meter
from localrun.benchmarks.prompts import RandomPrompts
from localrun.client.endpoint import StreamEvent
from localrun.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.client.endpoint import Endpoint

TEXT = {"choices": [{"text": "a"}]}


class Scripted:
    """A server that streams what a test says, and writes down the requests."""

    name = "other"

    def __init__(self, *bodies: dict[str, Any], answer: dict[str, Any] | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self._bodies = bodies
        self._answer = answer or {}

    def stream(self, _path: str, body: dict[str, Any]) -> Iterator[StreamEvent]:
        self.requests.append(body)
        for number, each in enumerate(self._bodies):
            yield StreamEvent(float(number), each)

    def post(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(body)
        return self._answer


def meter(server: Scripted, num_ctx: int | None = None) -> Meter:
    return Meter(cast("Endpoint", server), "m", RandomPrompts(1, [5, 6, 7]), num_ctx)


def test_tokens_are_those_of_the_usage_else_the_chunks() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}

    counted = meter(Scripted(TEXT, TEXT, usage)).streamed({})
    guessed = meter(Scripted(TEXT, TEXT)).streamed({})

    assert (counted.num_prompt, counted.num_generated) == (9, 4)
    assert (guessed.num_prompt, guessed.num_generated) == (0, 2)


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": "x"},
        {"choices": ["x"]},
        {"choices": [{"delta": "x"}]},
        {"choices": None, "usage": "x"},
        {"choices": [], "usage": {"prompt_tokens": "9", "completion_tokens": -1}},
    ],
)
def test_odd_events_of_other_servers_are_passed_over(odd: dict[str, Any]) -> None:
    streamed = meter(Scripted(odd, TEXT, odd)).streamed({})

    assert (streamed.num_prompt, streamed.num_generated) == (0, 1)


def test_an_answer_without_a_token_is_an_error() -> None:
    with pytest.raises(BackendError, match="other answered without a token"):
        meter(Scripted({"choices": []})).streamed({})


def test_each_request_asks_for_the_context() -> None:
    server = Scripted(
        TEXT,
        answer={
            "timings": {"prompt_n": 8, "prompt_ms": 4, "predicted_n": 6, "predicted_ms": 2},
            "usage": {"completion_tokens": 6},
        },
    )
    own = meter(server, 1024)

    rates = (own.prompt_rate(8), own.generation_rate(6))
    own.first_token_s(None, 3)
    own.image_first_token_s("data:")
    own.joint_rate(2, 6)

    assert rates == (2000.0, 2500.0)  # 8 tokens in 4 ms; 5 steps behind the first token in 2 ms
    assert [request["num_ctx"] for request in server.requests] == [1024] * 6
    assert "num_ctx" not in _request_of(None)


def test_a_server_without_timings_is_named() -> None:
    with pytest.raises(BackendError, match="other reports no timings"):
        meter(Scripted()).prompt_rate(4)


def _request_of(num_ctx: int | None) -> dict[str, Any]:
    server = Scripted(TEXT)
    meter(server, num_ctx).streamed_text("x", 2)
    return server.requests[0]
