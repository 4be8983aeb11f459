"""Measures of `scripts/bench quick`: one function for each act, which returns its figure.

Times are in milliseconds of wall time. What an act needs beforehand is not part of its time.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from typing import TYPE_CHECKING

from benchmarks import page_cache
from benchmarks.contestants import Contestant, StartError
from benchmarks.quick.processes import family, listener, model_mb, settle
from benchmarks.quick.programs import MODEL, Program
from benchmarks.wakeups import idle_cost, pss_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import psutil


QUESTION = "What is 2 + 3?"
IDLE_S = 20.0
TAB = {
    "_LOCALRUN_COMPLETE": "complete_fish",
    "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    "_TYPER_COMPLETE_ARGS": "localrun run gui",
}
_numbers = itertools.count()


def completion(program: Program) -> float:
    """Return the milliseconds of a completion, as the shell asks for it."""
    return program.piped_ms(**TAB)


def stop(program: Program) -> float:
    """Return the milliseconds to stop a loaded model."""
    program.load("guide")
    return program.piped_ms("stop", "guide")


def answer(program: Program) -> float:
    """Return the milliseconds of a whole answer through a pipe."""
    program.load("guide")
    return program.piped_ms("run", "guide", QUESTION)


def answer_on_terminal(program: Program) -> float:
    """Return the milliseconds of a whole answer on a terminal."""
    program.load("guide")
    return program.terminal_ms("run", "guide", QUESTION)


def create(program: Program) -> float:
    """Return the milliseconds to create a model from one that is here, over the API."""
    body = {"model": f"made-{next(_numbers)}", "from": "guide", "system": "Be brief."}
    return program.call_ms("POST", "/api/create", {**body, "stream": False})


def listing(path: str) -> Callable[[Program], float]:
    """Return a function that measures a list of models over the API."""
    return lambda program: program.call_ms("GET", path)


def wait_meanwhile(path: str) -> Callable[[Program], float]:
    """Return a function that measures the longest wait of a cheap request during a list."""

    def measure(program: Program) -> float:
        waits: list[float] = []
        begun, ended = threading.Event(), threading.Event()
        pinging = threading.Thread(target=_ping, args=(program.port, waits, begun, ended))
        pinging.start()
        try:
            begun.wait()
            program.call("GET", path)
        finally:
            ended.set()
            pinging.join()
        return max(waits)

    return measure


def serve(program: Program) -> float:
    """Return the milliseconds from the start of the server to its first answer."""
    try:
        return program.serve_ms()
    finally:
        program.end()


def first_run(program: Program) -> float:
    """Return the milliseconds of an answer with nothing running."""
    try:
        return program.piped_ms("run", "guide", "hi")
    finally:
        program.end()


def first_token(*, is_cold: bool) -> Callable[[Program], float]:
    """Return a function that measures a load up to the first token, over the API."""

    def measure(program: Program) -> float:
        (page_cache.drop if is_cold else page_cache.fill)(program.blobs())
        with program.unloading(MODEL):
            loaded = program.greet()
        return 1000 * (loaded.first_at - loaded.sent_at)

    return measure


def first_output(*, is_cold: bool) -> Callable[[Program], float]:
    """Return a function that measures a load up to the first output of ``run``."""

    def measure(program: Program) -> float:
        (page_cache.drop if is_cold else page_cache.fill)(program.blobs())
        with program.unloading(MODEL):
            return program.first_output_ms("run", MODEL, "hello")

    return measure


def peer_first_token(*, is_cold: bool) -> Callable[[Contestant, Iterable[Path]], float]:
    """Return a function that measures llama-server from its start to its first token."""

    def measure(server: Contestant, files: Iterable[Path]) -> float:
        (page_cache.drop if is_cold else page_cache.fill)(files)
        begun = time.monotonic()
        try:
            return 1000 * (server.start().first_at - begun)
        finally:
            server.stop()

    return measure


def memory(program: Program) -> float:
    """Return the megabytes of the process with the large model after one chat."""
    with program.unloading(MODEL):
        program.greet()
        return model_mb(_process(program))


def peer_memory(server: Contestant, _files: Iterable[Path]) -> float:
    """Return the megabytes of llama-server after one chat."""
    server.start()
    try:
        return model_mb(_process(server))
    finally:
        server.stop()


def wakeups(program: Program) -> float:
    """Return the wake-ups in a second of an idle server with a loaded model."""
    program.load("guide")
    settle(_process(program))
    return idle_cost(_pids(program), IDLE_S).wakeups_per_s


def idle_memory(program: Program) -> float:
    """Return the megabytes of the server and its warm process, without a model."""
    settle(_process(program))
    return sum(map(pss_bytes, _pids(program))) / 1e6


def _ping(port: int, waits: list[float], begun: threading.Event, ended: threading.Event) -> None:
    """Send cheap requests one after the other, and keep the milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        while not ended.is_set():
            sent_at = time.perf_counter()
            connection.request("GET", "/api/version")
            connection.getresponse().read()
            waits.append(1000 * (time.perf_counter() - sent_at))
            begun.set()
    finally:
        begun.set()
        connection.close()


def _pids(program: Program) -> list[int]:
    return [process.pid for process in family(_process(program))]


def _process(server: Program | Contestant) -> psutil.Process:
    process = listener(server.port)
    if process is None:
        raise StartError(f"{server.name} does not run")
    return process
