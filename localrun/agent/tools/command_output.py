"""Output of a command: its head and its tail, in bounded memory."""

from __future__ import annotations

from collections import deque

HEAD_BYTES, TAIL_BYTES = 16 * 1024, 16 * 1024


class BoundedOutput:
    """Bytes of which the first and the last are kept."""

    def __init__(self, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self._limits = (head_bytes, tail_bytes)
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.num_bytes = 0

    def add(self, data: bytes) -> None:
        """Take a piece."""
        head_bytes, tail_bytes = self._limits
        self.num_bytes += len(data)
        room = head_bytes - len(self._head)
        self._head += data[:room]
        behind = data[room:]
        if behind:
            self._tail.append(behind)
            self._tail_bytes += len(behind)
        while self._tail and self._tail_bytes - len(self._tail[0]) >= tail_bytes:
            self._tail_bytes -= len(self._tail.popleft())

    def text(self) -> str:
        """Return the output; the middle is replaced by its size."""
        tail = b"".join(self._tail)[-self._limits[1] :]
        left_out = self.num_bytes - len(self._head) - len(tail)
        gap = f"\n[... {left_out} bytes left out ...]\n" if left_out else ""
        if not left_out:
            return (bytes(self._head) + tail).decode("utf-8", "replace")
        return self._head.decode("utf-8", "replace") + gap + tail.decode("utf-8", "replace")
