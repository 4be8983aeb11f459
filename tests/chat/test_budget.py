"""What one request may use is shared by all that is done for it."""

from __future__ import annotations

import pytest

from localrun.chat.budget import Allowance, RenderLimits
from localrun.chat.profiles.discovery import discovered_profile
from localrun.chat.template import ChatTemplate
from localrun.errors import RequestTooCostlyError, UsageError

HELLO = [{"role": "user", "content": "hi"}]


class Clock:
    """A clock that a test moves, or that moves by each look."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self._step = step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


def test_time_that_other_processes_took_is_not_counted() -> None:
    wall, processor = Clock(), Clock()
    allowance = Allowance(RenderLimits(seconds=10), wall=wall, processor=processor)

    wall.now, processor.now = 1000.0, 9.0
    allowance.tick()
    wall.now, processor.now = 1002.0, 10.5

    with pytest.raises(RequestTooCostlyError, match="more than 10 s of processor time"):
        allowance.tick()


def test_the_processors_clock_is_read_only_when_time_may_be_over() -> None:
    wall, processor = Clock(), Clock(step=1.0)
    allowance = Allowance(RenderLimits(seconds=10), wall=wall, processor=processor)

    for _ in range(100):
        allowance.tick()

    assert processor.now == 1.0  # by the start


def test_each_slice_ends_with_a_call() -> None:
    wall, slices = Clock(), list[float]()
    allowance = Allowance(
        wall=wall, processor=Clock(), slice_s=1.0, on_slice=lambda: slices.append(wall.now)
    )

    for now in (0.5, 1.0, 1.5, 1.9, 2.0, 7.0, 7.5, 8.0):
        wall.now = now
        allowance.tick()

    assert slices == [1.0, 2.0, 7.0, 8.0]


def test_all_renders_of_a_request_share_its_allowance() -> None:
    template = ChatTemplate("{{ 'x' * 10**6 }}", bos="", eos="")
    allowance = Allowance(RenderLimits(built=5 * 10**6))

    def render_often() -> None:
        for _ in range(10):
            template.render(HELLO, allowance=allowance)

    with pytest.raises(RequestTooCostlyError, match="builds too much"):
        render_often()


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}tools",
        "{% set x = 'x' * 10**7 %}" * 60 + "tools",
    ],
)
def test_the_probing_of_a_template_is_charged_too_and_proves_nothing_when_stopped(
    source: str,
) -> None:
    ticking = Allowance(RenderLimits(seconds=5), wall=Clock(step=0.001), processor=Clock(step=1.0))

    with pytest.raises(RequestTooCostlyError):
        discovered_profile(source, ticking)


def test_the_compilation_is_charged() -> None:
    wall = Clock(step=0.001)
    allowance = Allowance(RenderLimits(seconds=1), wall=wall, processor=wall)

    with pytest.raises(RequestTooCostlyError):
        ChatTemplate("{{ a }}" * 10_000, bos="", eos="", allowance=allowance)


def test_a_template_of_too_much_code_is_not_compiled() -> None:
    with pytest.raises(UsageError, match="too large to be compiled"):
        ChatTemplate("{{ a ~ b }}" * 8_000, bos="", eos="")
