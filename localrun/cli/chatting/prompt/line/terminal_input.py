"""Keys of the terminal for the line editor: pastes at linear cost, and keys typed ahead.

The parser of prompt_toolkit searches a whole paste again with each part of it that arrives. This
one searches only the part.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # noqa: S101 - elsewhere, mypy reads no further

from typing import TYPE_CHECKING  # noqa: E402 - after the platform

from prompt_toolkit.input.typeahead import store_typeahead  # noqa: E402
from prompt_toolkit.input.vt100 import Vt100Input  # noqa: E402
from prompt_toolkit.input.vt100_parser import Vt100Parser  # noqa: E402
from prompt_toolkit.key_binding.key_processor import KeyPress  # noqa: E402
from prompt_toolkit.keys import Keys  # noqa: E402

if TYPE_CHECKING:
    from typing import TextIO

READ_BYTES = 65536
PASTE_END = "\x1b[201~"


class LinearParser(Vt100Parser):
    """Parser of keys that searches each part of a paste once."""

    def reset(self, request: bool = False) -> None:
        """Forget what has arrived in part."""
        self._parts: list[str] = []
        self._tail = ""
        super().reset(request)

    def feed(self, data: str) -> None:
        """Parse what has arrived."""
        while data:
            data = self._feed_paste(data) if self._in_bracketed_paste else self._feed_keys(data)

    def _feed_keys(self, data: str) -> str:
        """Parse keys up to the start of a paste; return what follows."""
        for index, letter in enumerate(data):
            if self._in_bracketed_paste:
                return data[index:]
            self._input_parser.send(letter)
        return ""

    def _feed_paste(self, data: str) -> str:
        """Collect a paste up to its end; return what follows."""
        data = self._tail + data
        end = data.find(PASTE_END)
        if end < 0:
            cut = max(0, len(data) - len(PASTE_END) + 1)
            self._parts.append(data[:cut])
            self._tail = data[cut:]
            return ""
        content = "".join([*self._parts, data[:end]])
        self._parts, self._tail, self._in_bracketed_paste = [], "", False
        self.feed_key_callback(KeyPress(Keys.BracketedPaste, content))
        return data[end + len(PASTE_END) :]


class TerminalInput(Vt100Input):
    """Input on the terminal."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin)
        self._encoding = stdin.encoding
        self.vt100_parser = LinearParser(self._buffer.append)

    def read_keys(self) -> list[KeyPress]:
        """Return the keys that have arrived."""
        self.vt100_parser.feed(self.stdin_reader.read(READ_BYTES))
        return self._take()

    def flush_keys(self) -> list[KeyPress]:
        """Return the keys of a sequence that nothing follows."""
        self.vt100_parser.flush()
        return self._take()

    def type_ahead(self, content: bytes) -> None:
        """Add keys that were typed before the next prompt."""
        self.vt100_parser.feed(content.decode(self._encoding, "surrogateescape"))
        self.vt100_parser.flush()
        store_typeahead(self, self._take())

    def _take(self) -> list[KeyPress]:
        keys = list(self._buffer)
        self._buffer.clear()  # the parser appends to this list
        return keys
