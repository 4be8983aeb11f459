"""Each request leaves the media stage once: read, refused or cancelled."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

from localrun.chat.media_marks import READ
from localrun.engine.params import FinishReason
from localrun.errors import UsageError
from localrun.runner.media.stage import MediaStage
from localrun.runner.messages import Failed, Finished, Generate, Generation, PromptSpec, Tokenize
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Prepared, Terminal


class Reader:
    """Reads what it is told to; blocks until it may."""

    def __init__(self) -> None:
        self.may_read = threading.Event()
        self.may_read.set()
        self.reading = threading.Event()
        self.fails: Exception | None = None

    def read(self, medium: dict[str, Any]) -> tuple[str, ...]:
        self.reading.set()
        assert self.may_read.wait(HANG_S)
        if self.fails is not None:
            raise self.fails
        return (f"read {medium['data']!r}",)


class Stage:
    def __init__(self) -> None:
        self.reader = Reader()
        self.passed: queue.SimpleQueue[Prepared] = queue.SimpleQueue()
        self.events: queue.SimpleQueue[Terminal] = queue.SimpleQueue()
        self.stage = MediaStage(self.reader, self.passed.put, self.events.put)  # type: ignore[arg-type]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def spec(*media: bytes) -> PromptSpec:
    listed = [{"data": data, "place": "x"} for data in media]
    return PromptSpec(messages=({"role": "user", "content": "", "media": listed},))


def generate(number: int, *media: bytes) -> Generate:
    return Generate(request_id=number, generation=Generation(prompt=spec(*media)))


def tokenize(number: int, *media: bytes) -> Tokenize:
    return Tokenize(request_id=number, prompt=spec(*media))


@pytest.mark.parametrize("request_of", [generate, tokenize])
def test_media_are_read_before_the_request_is_passed_on(
    stage: Stage, request_of: Callable[..., Generate | Tokenize]
) -> None:
    stage.stage.submit(request_of(1, b"a", b"b"))

    passed = stage.passed.get(timeout=HANG_S)
    assert isinstance(passed, Generate | Tokenize)
    prompt = passed.generation.prompt if isinstance(passed, Generate) else passed.prompt
    assert prompt.messages is not None
    media = prompt.messages[0]["media"]
    assert [medium[READ] for medium in media] == [("read b'a'",), ("read b'b'",)]
    assert [medium["data"] for medium in media] == [b"", b""]
    assert not stage.stage.cancel(1)


def test_a_request_without_media_passes_at_once(stage: Stage) -> None:
    stage.reader.may_read.clear()
    stage.stage.submit(generate(1, b"a"))
    stage.stage.submit(Generate(request_id=2))

    assert stage.passed.get(timeout=HANG_S).request_id == 2
    stage.reader.may_read.set()
    assert stage.passed.get(timeout=HANG_S).request_id == 1


def test_a_refused_medium_ends_its_request(stage: Stage) -> None:
    stage.reader.fails = UsageError("x is no image", param="x")
    stage.stage.submit(generate(1, b"a"))

    event = stage.events.get(timeout=HANG_S)

    assert isinstance(event, Failed)
    assert (event.message, event.param) == ("x is no image", "x")
    assert stage.passed.empty()


def test_a_bug_ends_its_request_only(stage: Stage) -> None:
    stage.reader.fails = KeyError("bug")
    stage.stage.submit(generate(1, b"a"))
    assert isinstance(stage.events.get(timeout=HANG_S), Failed)

    stage.reader.fails = None
    stage.stage.submit(generate(2, b"a"))
    assert stage.passed.get(timeout=HANG_S).request_id == 2


def test_a_request_that_is_cancelled_meanwhile_ends_once(stage: Stage) -> None:
    stage.reader.may_read.clear()
    stage.stage.submit(generate(1, b"a"))
    assert stage.reader.reading.wait(HANG_S)

    assert stage.stage.cancel(1)
    stage.reader.may_read.set()

    event = stage.events.get(timeout=HANG_S)
    assert isinstance(event, Finished)
    assert event.reason is FinishReason.CANCELLED
    assert stage.passed.empty()
    assert stage.events.empty()
