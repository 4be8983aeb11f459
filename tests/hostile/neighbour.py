"""Another user of the server, whose answers are streamed one after the other."""

from __future__ import annotations

import json
import threading
from typing import Self

import httpx

TOKENS = 40
PATIENCE_S = 60.0
REQUEST = {
    "model": "guide",
    "messages": [{"role": "user", "content": "What is localrun?"}],
    "max_tokens": TOKENS,
    "stream": True,
}


class Neighbour:
    """Streams answers in a thread, and notes each that does not end as it should."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=PATIENCE_S)
        self._thread = threading.Thread(target=self._run)
        self._is_over = threading.Event()
        self._has_ended_one = threading.Event()
        self.num_ended = 0
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._client.close()

    def wait_for_more(self) -> None:
        """Wait until one more stream has ended."""
        self._has_ended_one.clear()
        self._has_ended_one.wait(PATIENCE_S)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self._stream()
            except httpx.HTTPError as error:
                self.problems.append(repr(error))
            self.num_ended += 1
            self._has_ended_one.set()

    def _stream(self) -> None:
        with self._client.stream("POST", "/v1/chat/completions", json=REQUEST) as response:
            lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
        if response.status_code != httpx.codes.OK or lines[-1:] != ["[DONE]"]:
            self.problems.append(f"{response.status_code}: {lines[-1:]}")
            return
        if any("error" in json.loads(line) for line in lines[:-1]):
            self.problems.append(str(lines[-2:]))
