"""What Ollama's reader makes of a file: its rules of `reference/ollama.md` as a machine.

Slow and literal on purpose: one character at a time, the value judged anew at every
newline. ``None`` where Ollama refuses the file, also where only its ``create`` does.
"""

from __future__ import annotations

import re

KEYWORDS = {
    "FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "DRAFT", "LICENSE", "MESSAGE",
    "RENDERER", "PARSER", "REQUIRES",
}  # fmt: skip
Entry = tuple[str, str, str]  # keyword, name or role, value


class Refused(Exception):  # noqa: N818 - it is no error of ours
    pass


def ollama_reads(text: str) -> list[Entry] | None:
    """Return the instructions in order."""
    machine = Machine()
    try:
        for char in text:
            machine.feed(char)
        machine.end()
    except Refused:
        return None
    entries = machine.entries
    return entries if any(keyword == "FROM" for keyword, _, _ in entries) else None


class Machine:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.state = "nothing"
        self.word = ""
        self.keyword = ""
        self.extra = ""

    def feed(self, char: str) -> None:
        getattr(self, f"in_{self.state}")(char)

    def in_nothing(self, char: str) -> None:
        if char == "#":
            self.state = "comment"
        elif char not in " \t\r\n":
            self.state, self.word = "keyword", char if char.isprintable() else ""

    def in_comment(self, char: str) -> None:
        if char in "\r\n":
            self.state = "nothing"

    def in_keyword(self, char: str) -> None:
        if re.match("[A-Za-z]", char):
            self.word += char
        elif char in " \t" and self.word.upper() in KEYWORDS:
            self.keyword, self.word = self.word.upper(), ""
            self.state = {"PARAMETER": "name", "MESSAGE": "role"}.get(self.keyword, "value")
        else:
            raise Refused

    def in_name(self, char: str) -> None:
        self.take_extra(char, "[A-Za-z0-9_]")

    def in_role(self, char: str) -> None:
        self.take_extra(char, "[A-Za-z]")
        if self.state == "value" and self.extra not in {"system", "user", "assistant"}:
            raise Refused

    def take_extra(self, char: str, letters: str) -> None:
        if re.match(letters, char):
            self.word += char
        elif char in " \t" and self.word:
            self.extra, self.word, self.state = self.word, "", "value"
        else:
            raise Refused

    def in_value(self, char: str) -> None:
        if char in "\r\n" and self.value() is not None:
            self.finish()
        elif char.isprintable() or char in "\r\n\t":
            self.word += char

    def value(self) -> str | None:
        trimmed = self.word.strip(" \t\r\n")
        for fence in ('"""', '"'):
            if trimmed.startswith(fence):
                is_closed = len(trimmed) >= 2 * len(fence) and trimmed.endswith(fence)
                return trimmed[len(fence) : -len(fence)] if is_closed else None
        return trimmed

    def finish(self) -> None:
        value = self.value()
        if value is None:
            raise Refused
        self.entries.append((self.keyword, self.extra, value))
        self.state, self.word, self.extra = "nothing", "", ""

    def end(self) -> None:
        if self.state == "value":
            self.finish()
        elif self.state not in {"nothing", "comment"}:
            raise Refused
