from __future__ import annotations

import pytest

from localrun.load_rules import DEFAULT_TIMEOUT_S
from localrun.runner.messages import Pong
from localrun.supervisor.heartbeat import LONGEST_STEP_S, SILENCE_S, Heartbeat


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def after(seconds: float, *, step: int, cpu_share: float, is_working: bool = True) -> str | None:
    """Return the verdict over a runner that was asked every 10 s, and did so much each time."""
    clock = Clock()
    heartbeat = Heartbeat(clock)
    for count in range(int(seconds // 10) + 1):
        clock.now = 10.0 * count
        heartbeat.record_ping()
        heartbeat.record_message()
        heartbeat.record_pong(
            Pong(num_steps=step * count, cpu_s=clock.now * cpu_share, is_working=is_working)
        )
    return heartbeat.stall_reason()


@pytest.mark.parametrize(
    ("step", "cpu_share", "is_working", "verdict"),
    [
        (1, 0.0, True, None),  # steps on a GPU
        (0, 0.9, True, None),  # a long step on the processor
        (0, 0.0, False, None),  # nothing to do
        (0, 0.0, True, "hung in a step"),
    ],
)
def test_what_moves_lives(
    step: int, cpu_share: float, *, is_working: bool, verdict: str | None
) -> None:
    found = after(2 * SILENCE_S, step=step, cpu_share=cpu_share, is_working=is_working)

    assert verdict in found if verdict and found else found == verdict


def test_a_step_that_never_ends_is_no_life_although_it_computes() -> None:
    assert after(LONGEST_STEP_S / 2, step=0, cpu_share=1.0) is None
    assert "one step" in str(after(LONGEST_STEP_S + 20, step=0, cpu_share=1.0))


def test_silence_counts_from_the_question_on() -> None:
    clock = Clock()
    heartbeat = Heartbeat(clock)
    clock.now = 1000.0
    heartbeat.record_ping()
    at_first = heartbeat.stall_reason()
    clock.now += SILENCE_S + 1

    assert at_first is None
    assert "did not answer" in str(heartbeat.stall_reason())


def test_a_load_may_be_slow_as_long_as_it_moves() -> None:
    clock = Clock()
    heartbeat = Heartbeat(clock)
    for _ in range(3):
        clock.now += DEFAULT_TIMEOUT_S - 1
        heartbeat.record_message()
    moving = heartbeat.load_stall_reason(DEFAULT_TIMEOUT_S)
    clock.now += DEFAULT_TIMEOUT_S + 1

    assert moving is None
    assert "no progress" in str(heartbeat.load_stall_reason(DEFAULT_TIMEOUT_S))
    assert "LOCALRUN_LOAD_TIMEOUT is 5 s" in str(heartbeat.load_stall_reason(5))
    assert heartbeat.load_stall_reason(None) is None


def test_the_rate_is_that_of_the_last_signs() -> None:
    clock = Clock()
    heartbeat = Heartbeat(clock)
    for tokens in (0, 30, 60):
        heartbeat.record_pong(Pong(num_steps=tokens, cpu_s=0, is_working=True, num_tokens=tokens))
        clock.now += 3

    assert heartbeat.tokens_per_s == 10


def test_a_rest_counts_neither_as_a_stall_nor_for_the_rate() -> None:
    clock = Clock()
    heartbeat = Heartbeat(clock)
    heartbeat.record_pong(Pong(num_steps=5, cpu_s=1, is_working=False, num_tokens=0))
    heartbeat.rest()
    clock.now += 100 * LONGEST_STEP_S
    heartbeat.record_ping()
    heartbeat.record_message()
    heartbeat.record_pong(Pong(num_steps=5, cpu_s=1, is_working=True, num_tokens=0))
    verdict = heartbeat.stall_reason()
    clock.now += 3
    heartbeat.record_pong(Pong(num_steps=35, cpu_s=2, is_working=True, num_tokens=30))

    assert verdict is None
    assert heartbeat.tokens_per_s == 10


@pytest.mark.parametrize("is_working", [False, True])
def test_a_heartbeat_is_quiet_once_the_last_answer_says_so(*, is_working: bool) -> None:
    heartbeat = Heartbeat(Clock())
    at_first = heartbeat.is_quiet
    heartbeat.record_ping()
    asked = heartbeat.is_quiet
    heartbeat.record_message()
    heartbeat.record_pong(Pong(num_steps=1, cpu_s=0, is_working=is_working))

    assert (at_first, asked, heartbeat.is_quiet) == (True, False, not is_working)
