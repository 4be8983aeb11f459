"""Benchmark of times with limits that tests do not assert, because they depend on the machine.

    header    processor time to read a GGUF header with a vocabulary of 150,000 tokens
    cancel    time from a client's disconnect during a stream until no request is open

Each figure is the best of the rounds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.gguf.header import read_header

if TYPE_CHECKING:
    from collections.abc import Callable

VOCABULARY = 150_000
STRING, ARRAY = 8, 9
BODY = {
    "model": "guide",
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "options": {"num_predict": 2000, "temperature": 2},
}
LIMITS_MS = {"header": 50, "cancel": 100}
POLL_S = 0.002


def main(arguments: list[str]) -> int:
    """Print the times; return 1 if one exceeds its limit."""
    parser = argparse.ArgumentParser(prog="scripts/bench bounds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = _vocabulary(Path(folder))
        times_s = {
            "header": _best(lambda: _header_s(path), rounds),
            "cancel": _cancel_s(Path(folder), rounds),
        }
    for name, seconds in times_s.items():
        print(f"{name:8}{1000 * seconds:8.1f} ms (at most {LIMITS_MS[name]})")
    return int(any(1000 * seconds > LIMITS_MS[name] for name, seconds in times_s.items()))


def _best(measure: Callable[[], float], rounds: int) -> float:
    return min(measure() for _ in range(rounds))


def _vocabulary(folder: Path) -> Path:
    """Return a GGUF file of only the tokens and merges of a large vocabulary."""
    texts = b"".join(_text(f"token{number}") for number in range(VOCABULARY))
    array = struct.pack("<IIQ", ARRAY, STRING, VOCABULARY) + texts
    keys = ("tokenizer.ggml.tokens", "tokenizer.ggml.merges")
    pairs = b"".join(_text(key) + array for key in keys)
    path = folder / "vocabulary.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(keys)) + pairs)
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _header_s(path: Path) -> float:
    begun = time.process_time()
    read_header(path)
    return time.process_time() - begun


def _cancel_s(folder: Path, rounds: int) -> float:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    environ = os.environ | {
        "LOCALRUN_HOST": f"127.0.0.1:{port}",
        "LOCALRUN_MODELS": str(folder / "store"),
        "LOCALRUN_LOG_DIR": str(folder),
    }
    command = [sys.executable, "-m", "localrun"]
    subprocess.run([*command, "run", "guide", "hi"], env=environ, check=True, capture_output=True)
    try:
        return _best(lambda: _leave_a_stream(port), rounds)
    finally:
        subprocess.run(
            [*command, "stop", "--server"], env=environ, check=False, capture_output=True
        )


def _leave_a_stream(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/api/chat", json.dumps(BODY))
    response = connection.getresponse()
    response.readline()
    response.close()
    connection.close()
    begun = time.monotonic()
    while any(row["num_open"] for row in _running(port)):
        time.sleep(POLL_S)
    return time.monotonic() - begun


def _running(port: int) -> list[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/api/ps")
    rows: list[dict[str, Any]] = json.loads(connection.getresponse().read())["models"]
    connection.close()
    return rows
