"""Benchmark of many concurrent streaming clients on the embedded model.

Each client sends a request, reads its stream to the end, and sends the next. Targets: no error
other than 503 with Retry-After, no growth of the server's memory, and a lag of the event loop below
50 ms in 99 % of samples. The server's processor time for a token is printed beside the runner's.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LAG = re.compile(r'localrun_loop_lag_seconds_bucket\{le="([^"]+)"\} (\d+)')
LISTENS = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")
WANTED_LAG_S = 0.05
MAX_GROWTH_MB = 20.0
START_S = 30.0
WARM_SHARE = 4  # memory is compared from this part of the time on
BACK_OFF_S = 1.0
EVENT = b'"delta"'


@dataclass(slots=True)
class Tally:
    """Results of the clients."""

    answers: int = 0
    events: int = 0
    busy: int = 0  # responses 503 with Retry-After
    errors: collections.Counter[str] = field(default_factory=collections.Counter)


def main(arguments: list[str]) -> int:
    """Print the results; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench clients", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="localrun-bench-") as folder:
        server, port = _start(Path(folder))
        try:
            return asyncio.run(_measure(server, port, chosen.clients, chosen.seconds))
        finally:
            server.terminate()
            server.wait(30)


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    log = folder / "server.log"
    environ = os.environ | {"LOCALRUN_HOST": "127.0.0.1:0", "LOCALRUN_MODELS": str(folder / "m")}
    environ |= {"LOCALRUN_CACHE": str(folder / "c"), "LOCALRUN_PROMPT_CACHE": "0"}
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "localrun", "serve", "--device", "cpu"],
            env=environ,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_S
    while (match := LISTENS.search(log.read_text())) is None:
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the server does not start: {log.read_text()}")
        time.sleep(0.05)
    return server, int(match[1])


async def _measure(
    server: subprocess.Popen[bytes], port: int, num_clients: int, seconds: float
) -> int:
    tally, process = Tally(), psutil.Process(server.pid)
    until = time.monotonic() + seconds
    clients = [asyncio.create_task(_client(port, n, until, tally)) for n in range(num_clients)]
    await asyncio.sleep(seconds / WARM_SHARE)
    before = process.memory_info().rss / 1e6
    own_s, runner_s, events = _cpu_s(process), _children_s(process), tally.events
    await asyncio.sleep(until - time.monotonic())
    events = max(1, tally.events - events)
    own_ms = (_cpu_s(process) - own_s) * 1000 / events
    runner_ms = (_children_s(process) - runner_s) * 1000 / events
    growth = process.memory_info().rss / 1e6 - before
    await asyncio.gather(*clients)
    lag_s = _p99(await asyncio.to_thread(_lags, port))
    print(
        f"{num_clients} clients, {seconds:.0f} s: {tally.answers} answers, {tally.events} events,"
        f" {tally.busy} announced 503s, errors {dict(tally.errors) or 'none'}\n"
        f"memory of the server {before:.0f} MB, {growth:+.1f} MB after a warm-up\n"
        f"event loop late by at most {lag_s * 1000:g} ms in 99 of 100 looks\n"
        f"processor time for an event: server {own_ms:.3f} ms, runner {runner_ms:.3f} ms"
    )
    is_fine = not tally.errors and growth <= MAX_GROWTH_MB and lag_s <= WANTED_LAG_S
    return 0 if is_fine and tally.answers else 1


async def _client(port: int, number: int, until: float, tally: Tally) -> None:
    rng = random.Random(number)
    while time.monotonic() < until:
        try:
            await _ask(port, f"What is {rng.randrange(99)} + {rng.randrange(99)}?", tally)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            tally.errors[type(error).__name__] += 1


async def _ask(port: int, text: str, tally: Tally) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_request(text))
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1].decode()
        if status == "503" and b"retry-after" in head.lower():
            tally.busy += 1
            await asyncio.sleep(BACK_OFF_S)
            return
        last = b""
        async for line in reader:
            tally.events += EVENT in line
            last = line if line.startswith(b"data: ") else last
    finally:
        writer.close()
    if status == "200" and last == b"data: [DONE]\n":
        tally.answers += 1
    else:
        tally.errors[f"{status} {last[:60]!r}"] += 1


def _request(text: str) -> bytes:
    messages = [{"role": "user", "content": text}]
    body = {"model": "guide", "messages": messages, "stream": True, "max_tokens": 64}
    payload = json.dumps({**body, "ignore_eos": True}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


def _lags(port: int) -> list[tuple[float, int]]:
    """Return pairs of a bound and the number of lags within it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        buckets = LAG.findall(answer.read().decode())
    return [(float(bound), int(count)) for bound, count in buckets]


def _p99(lags: list[tuple[float, int]]) -> float:
    total = lags[-1][1]
    return next(bound for bound, count in lags if count >= 0.99 * total)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _children_s(process: psutil.Process) -> float:
    return sum(_cpu_s(child) for child in process.children(recursive=True))
