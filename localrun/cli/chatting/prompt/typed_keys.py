r"""Keys that are typed while an answer is printed, sorted by what they do.

    Ctrl-C, Esc alone     interrupt the answer
    Ctrl-O                fold
    all others            kept, as bytes, for the next prompt: sequences of keys such as ``ESC [ A``
                          and pastes in brackets are whole, whatever they contain

Pure: no terminal and no clock. An Esc at the end of what has arrived is the key only if nothing
follows it: the caller waits shortly, and calls `lone_escape`. The cost is linear.
"""

from __future__ import annotations

import re
from enum import Enum

MAX_KEPT_BYTES = 64 << 20
ESCAPE, INTERRUPT_KEY, FOLD_KEY = b"\x1b", b"\x03", b"\x0f"
PASTE_START, PASTE_END = b"\x1b[200~", b"\x1b[201~"
# what has a meaning outside a paste
SPECIAL = re.compile(rb"\x1b\[200~|\x1b\x1b|\x1b|\x03|\x0f")


class KeyAct(Enum):
    """What a key asks for at once."""

    INTERRUPT = "interrupt"
    FOLD = "fold"


class TypedKeys:
    """Keys as they arrive."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._num_kept = 0
        self._tail = b""  # the beginning of a sequence that is not complete
        self._is_pasting = False

    def awaits_more(self) -> bool:
        """Return whether the last byte is an Esc, which may begin a sequence."""
        return not self._is_pasting and self._tail == ESCAPE

    def feed(self, content: bytes) -> list[KeyAct]:
        """Sort the bytes that have arrived; return what they ask for."""
        content, self._tail = self._tail + content, b""
        acts: list[KeyAct] = []
        while content:
            if self._is_pasting:
                content = self._feed_paste(content)
            else:
                content = self._feed_keys(content, acts)
        return acts

    def lone_escape(self) -> list[KeyAct]:
        """Return the interrupt of an Esc that nothing followed."""
        if not self.awaits_more():
            return []
        self._tail = b""
        return [KeyAct.INTERRUPT]

    def take(self) -> bytes:
        """Return all bytes that were kept, and keep them no longer."""
        kept = b"".join(self._kept) + (PASTE_END if self._is_pasting else b"")
        self._kept, self._num_kept, self._is_pasting = [], 0, False
        return kept

    def _feed_paste(self, content: bytes) -> bytes:
        """Keep a paste up to its end; return what follows."""
        end = content.find(PASTE_END)
        if end >= 0:
            self._is_pasting = False
            self._keep(content[: end + len(PASTE_END)])
            return content[end + len(PASTE_END) :]
        num_tail = _overlap(content, PASTE_END)
        self._keep(content[: len(content) - num_tail])
        self._tail = content[len(content) - num_tail :]
        return b""

    def _feed_keys(self, content: bytes, acts: list[KeyAct]) -> bytes:
        """Keep keys up to the next special one; return what follows."""
        match = SPECIAL.search(content)
        if match is None:
            self._keep(content)
            return b""
        self._keep(content[: match.start()])
        key, rest = match[0], content[match.end() :]
        if key == PASTE_START:
            self._is_pasting = True
            self._keep(PASTE_START)
        elif key == ESCAPE:
            return self._feed_sequence(rest)
        else:
            acts.append(KeyAct.FOLD if key == FOLD_KEY else KeyAct.INTERRUPT)
        return rest

    def _feed_sequence(self, rest: bytes) -> bytes:
        """Keep an Esc with the key that follows it, unless more must arrive first."""
        if PASTE_START.startswith(ESCAPE + rest):
            self._tail = ESCAPE + rest
            return b""
        self._keep(ESCAPE + rest[:1])
        return rest[1:]

    def _keep(self, content: bytes) -> None:
        if content and self._num_kept + len(content) <= MAX_KEPT_BYTES:
            self._kept.append(content)
            self._num_kept += len(content)


def _overlap(content: bytes, mark: bytes) -> int:
    """Return the length of the longest end of the content that begins the mark."""
    longest = min(len(content), len(mark) - 1)
    return next((n for n in range(longest, 0, -1) if mark.startswith(content[-n:])), 0)
