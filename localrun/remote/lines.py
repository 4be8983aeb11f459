r"""Server-sent events of an engine, from pieces of bytes that are cut anywhere.

Each event is the JSON of its ``data`` lines. An event longer than `LONGEST_EVENT` is refused
before it is parsed. Comments, ``event`` and ``id`` lines are dropped; lines end in \n, \r\n or \r
(https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

LONGEST_EVENT = 1 << 20  # bytes: a long line is parsed in some milliseconds
DONE = b"[DONE]"


class EventTooLongError(ValueError):
    """An event has more bytes than `LONGEST_EVENT`."""


class EventLines:
    """Decoder of one stream; each byte is copied a bounded number of times."""

    def __init__(self) -> None:
        self._unended: list[bytes] = []  # pieces of the line that has no end yet
        self._num_unended = 0
        self._data: list[bytes] = []  # of the event that has no end yet
        self._num_data = 0
        self._is_after_return = False

    def push(self, piece: bytes) -> list[bytes]:
        """Return the data of the events that are complete after the next bytes.

        Raises:
            EventTooLongError: an event is too long.
        """
        events: list[bytes] = []
        if self._is_after_return and piece.startswith(b"\n"):
            piece = piece[1:]
        self._is_after_return = piece.endswith(b"\r") if piece else self._is_after_return
        *lines, last = _split(piece)
        for line in lines:
            self._unended.append(line)
            whole = b"".join(self._unended)
            self._unended.clear()
            self._num_unended = 0
            self._add_line(whole, events)
        self._unended.append(last)
        self._num_unended += len(last)
        self._check()
        return events

    def finish(self) -> list[bytes]:
        """Return the data of the last event, which some engines do not end by an empty line."""
        events: list[bytes] = []
        self._add_line(b"".join(self._unended), events)
        self._add_line(b"", events)
        self._unended.clear()
        return events

    def _add_line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
            self._data.clear()
            self._num_data = 0
        elif line.startswith(b"data:"):
            data = line[5:].removeprefix(b" ")
            self._data.append(data)
            self._num_data += len(data)
            self._check()

    def _check(self) -> None:
        if self._num_unended + self._num_data > LONGEST_EVENT or len(self._data) > LONGEST_EVENT:
            raise EventTooLongError(f"an event has more than {LONGEST_EVENT} bytes")


def _split(piece: bytes) -> list[bytes]:
    if b"\r" in piece:
        piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return piece.split(b"\n")
