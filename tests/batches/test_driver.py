"""The driver, with senders that do what a request says."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from localrun.batches import driver as module
from localrun.batches.driver import SERVER_GONE, Driver
from localrun.batches.outcome import Outcome
from localrun.batches.requests import BatchRequest
from localrun.errors import LocalrunError, ServerUnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONG = "as long as it takes to be worth sharing " * 4
OK = Outcome(status=200, body=b"{}")
BUSY = Outcome(status=503, body=b'{"error": {"code": "overloaded"}}')
DIED = Outcome(status=500, body=b'{"error": {"code": "runner_died"}}')
GONE = Outcome(code=SERVER_GONE, message="lost")
REFUSED = Outcome(status=400, body=b'{"error": {"code": "invalid_request"}}')


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.001)


class Server:
    """Answers prompts by a function of the prompt and how often it was sent before."""

    def __init__(self, answer: Callable[[str, int], Outcome]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.sent: list[str] = []
        self.num_open = 0
        self.most_open = 0
        self.num_closed = 0

    def send(self, path: str, body: bytes) -> Outcome:
        assert path == "/p"
        prompt = json.loads(body)["prompt"]
        with self._lock:
            before = Counter(self.sent)[prompt]
            self.sent.append(prompt)
            self.num_open += 1
            self.most_open = max(self.most_open, self.num_open)
        try:
            return self._answer(prompt, before)
        finally:
            with self._lock:
                self.num_open -= 1

    def close(self) -> None:
        self.num_closed += 1


def run(
    server: Server, prompts: Sequence[str], num_parallel: int = 3, **changed: Any
) -> dict[int, Outcome]:
    def make(index: int) -> BatchRequest:
        if prompts[index] == "bad":
            raise UsageError("the line is bad")
        return BatchRequest(path="/p", body={"prompt": prompts[index]})

    driver = Driver(make, lambda: server, num_parallel)
    indices = changed.get("indices", range(len(prompts)))
    found: dict[int, Outcome] = {}
    for done in driver.outcomes(iter(indices)):
        assert done.index not in found
        found[done.index] = done.outcome
    return found


def test_each_record_has_one_outcome() -> None:
    server = Server(lambda prompt, _: Outcome(status=200, body=prompt.encode()))
    prompts = [str(number) for number in range(100)]

    found = run(server, prompts)

    assert {index: each.body.decode() for index, each in found.items()} == dict(enumerate(prompts))
    assert sorted(server.sent) == sorted(prompts)
    assert server.most_open <= 3


def test_prompts_that_begin_alike_follow_each_other() -> None:
    server = Server(lambda *_: OK)

    prompts = [f"{number % 4} {LONG} {number:03}" for number in range(100)]

    run(server, prompts, num_parallel=1)

    assert server.sent == sorted(server.sent)


def test_short_prompts_keep_the_order_of_the_input() -> None:
    server = Server(lambda *_: OK)
    prompts = [f"{number % 4} {number:03}" for number in range(100)]

    run(server, prompts, num_parallel=1)

    assert server.sent == prompts


def test_a_window_bounds_how_far_records_are_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 10)
    server = Server(lambda *_: OK)

    run(server, [f"{99 - number:02} {LONG}" for number in range(100)], num_parallel=1)

    assert server.sent[:10] == [f"{number:02} {LONG}" for number in range(90, 100)]


def test_a_record_that_makes_no_request_has_its_error() -> None:
    found = run(Server(lambda *_: OK), ["a", "bad", "b"])

    assert [found[index].is_ok for index in range(3)] == [True, False, True]
    assert found[1].message == "the line is bad"


def test_a_busy_server_is_asked_again() -> None:
    server = Server(lambda _, before: BUSY if before < 5 else OK)

    assert run(server, ["a", "b"])[0].is_ok
    assert server.sent.count("a") == 6


def test_what_kills_the_runner_takes_no_other_with_it() -> None:
    """All that run while the poison does die with it; alone, they are answered."""
    poisoned = threading.Event()

    def answer(prompt: str, before: int) -> Outcome:
        if prompt == "poison":
            poisoned.set()
            return DIED
        return DIED if not before else OK

    server = Server(answer)
    found = run(server, ["a", "poison", "b"])

    assert poisoned.is_set()
    assert [found[index].is_ok for index in range(3)] == [True, False, True]
    assert server.sent.count("poison") == 1 + module.MAX_TRIES


@pytest.mark.parametrize("outcome", [DIED, GONE])
def test_a_request_that_was_cut_off_is_sent_again(outcome: Outcome) -> None:
    server = Server(lambda _, before: outcome if before < 2 else OK)

    assert all(each.is_ok for each in run(server, ["a", "b"]).values())


def test_other_failures_are_final() -> None:
    server = Server(lambda *_: REFUSED)

    assert not run(server, ["a"])[0].is_ok
    assert server.sent == ["a"]


@pytest.mark.parametrize("code", ["model_not_found", "load_failed"])
def test_a_model_that_is_gone_ends_the_batch(code: str) -> None:
    """Its other records would all get the same error, and the batch could not go on later."""
    body = json.dumps({"error": {"code": code, "message": "gone"}}).encode()
    server = Server(lambda prompt, _: OK if prompt < "3" else Outcome(status=404, body=body))

    with pytest.raises(LocalrunError, match="gone") as caught:
        run(server, [str(number) for number in range(10)], num_parallel=1)

    assert caught.value.code == code
    assert server.sent == ["0", "1", "2", "3"]


def test_a_server_that_is_gone_for_good_ends_the_batch() -> None:
    def answer(prompt: str, _: int) -> Outcome:
        if prompt == "b":
            raise ServerUnreachableError("gone")
        return OK

    with pytest.raises(ServerUnreachableError):
        run(Server(answer), ["a", "b", *"c" * 50])


def test_stop_ends_the_threads() -> None:
    """A sender that is closed returns from its request, as a connection does."""
    closed = threading.Event()

    class Hanging(Server):
        def close(self) -> None:
            closed.set()

    def answer(*_: object) -> Outcome:
        closed.wait()
        return GONE

    driver = Driver(
        lambda index: BatchRequest(path="/p", body={"prompt": str(index)}),
        lambda: Hanging(answer),
        3,
    )
    outcomes = driver.outcomes(iter(range(100)))
    stopper = threading.Timer(0.05, driver.stop)
    stopper.start()

    assert list(outcomes) == []
    stopper.join()
