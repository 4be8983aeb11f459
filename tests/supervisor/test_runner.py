from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.errors import LoadError, NetworkError
from localrun.runner.messages import Failed, Load
from localrun.supervisor.runner import Runner
from localrun.supervisor.runner_process import start_with_pair
from localrun.supervisor.worker_offers import TakenWorkers
from tests.fakes.fake_worker import WorkerLab
from tests.fakes.requests import text_request
from tests.fakes.starting import Collector, start_fake

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Iterator


@pytest.fixture
def runner() -> Iterator[Runner]:
    found = Runner(start_fake)
    found.load(Load(model_paths=("fake.gguf",)))
    yield found
    found.close()


@pytest.fixture
def lab() -> Iterator[WorkerLab]:
    found = WorkerLab("ssh a")
    yield found
    found.close()


def ask(runner: Runner, request_id: int, prompt: str) -> Collector:
    sink = Collector()
    runner.submit(replace(text_request(prompt), request_id=request_id), sink)
    return sink


def test_a_request_to_a_dead_runner_ends_at_once(runner: Runner) -> None:
    ask(runner, 1, "die").until_end()

    late = ask(runner, 2, "say x")
    runner.cancel(2)

    assert isinstance(late.until_end(), Failed)
    assert late.num_ends() == 1
    assert not runner.is_alive


def test_events_of_requests_that_nobody_waits_for_are_dropped(runner: Runner) -> None:
    waiting = ask(runner, 1, "hang")
    waiting.until_text()
    runner.cancel(1)
    waiting.until_end()

    runner.cancel(1)
    again = ask(runner, 2, "say on")
    again.until_end()

    assert again.text == "on"
    assert waiting.num_ends() == 1


def test_closing_says_that_the_model_was_unloaded_and_may_come_twice(runner: Runner) -> None:
    waiting = ask(runner, 1, "hang")
    waiting.until_text()

    runner.close()
    runner.close()

    end = waiting.until_end()
    assert isinstance(end, Failed)
    assert end.message.endswith("it was unloaded")


def test_a_ping_while_the_runner_is_closed_raises_nothing(runner: Runner) -> None:
    runner.close()

    runner.ping()

    assert not runner.is_alive


def test_a_runner_that_cannot_be_started_leaves_no_socket_open() -> None:
    def spawn(child_end: socket.socket) -> subprocess.Popen[bytes]:
        raise LoadError(f"no process for socket {child_end.fileno()}")

    with pytest.raises(LoadError):
        Runner(lambda: start_with_pair(spawn))


def test_an_exit_reason_has_the_last_lines_without_a_traceback(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["Traceback (most recent call last):", '  File "/x.py", line 1, in f', "GGML_ASSERT"]
    monkeypatch.setattr(runner._process, "_last_lines", lines)

    assert runner.exit_reason().endswith(": GGML_ASSERT")


def test_a_lost_worker_is_named_by_the_error_and_is_no_crash(runner: Runner) -> None:
    lost = ask(runner, 1, "lose")
    ended = lost.until_end()

    assert isinstance(ended, Failed)
    assert ended.message == (
        "the model stopped in the middle of the answer: the worker `ssh gpu1` was lost: it ended"
    )
    assert not runner.has_crashed


def test_a_worker_that_is_lost_in_a_load_is_no_reason_for_a_smaller_plan() -> None:
    runner = Runner(start_fake)

    with pytest.raises(NetworkError, match="the worker `ssh gpu1` was lost: it ended"):
        runner.load(Load(model_paths=("loses.gguf",)))

    assert not runner.has_crashed


def test_a_lost_worker_gets_no_time_to_end_by_itself(lab: WorkerLab) -> None:
    taken = TakenWorkers([lab.start(lab.commands[0])])
    runner = Runner(start_fake, workers=taken)

    with pytest.raises(NetworkError, match="was lost"):
        runner.load(Load(model_paths=("loses.gguf",)))

    assert lab.graces == [0.0]


def test_a_worker_that_is_not_needed_any_more_gets_some_time_to_end(lab: WorkerLab) -> None:
    runner = Runner(start_fake, workers=TakenWorkers([lab.start(lab.commands[0])]))
    runner.load(Load(model_paths=("fake.gguf",)))

    runner.close()

    assert len(lab.graces) == 1
    assert lab.graces[0] > 0


def test_the_workers_of_a_load_that_is_aborted_get_no_time_to_end(lab: WorkerLab) -> None:
    runner = Runner(start_fake, workers=TakenWorkers([lab.start(lab.commands[0])]))

    runner.close(grace_s=0.0)

    assert lab.graces == [0.0]
