"""Blocks of code of an answer, exactly as the model wrote them."""

from __future__ import annotations

from dataclasses import dataclass

from localrun.cli.rendering.lines import (
    SHORTEST_FENCE,
    LineKind,
    LineStart,
    closes,
    decide,
    without_indent,
    without_quotes,
)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """One block of code."""

    language: str
    text: str  # without its fences; ends with a line end, unless it is empty


def code_blocks(markdown: str) -> list[CodeBlock]:
    """Return the blocks of code of a text, also one that is not closed."""
    blocks: list[CodeBlock] = []
    block: _OpenBlock | None = None
    for line in markdown.replace("\r\n", "\n").split("\n"):
        if block is not None:
            content = without_quotes(line, block.num_quotes)
            if content is not None and not block.ends(content):
                continue
            blocks.append(CodeBlock(block.language, "".join(block.lines)))
            block = None
            if content is not None:
                continue
        start = decide(line, is_complete=True)
        if start is not None and start.kind is LineKind.FENCE:
            block = _OpenBlock(start)
    if block is not None and block.lines:
        blocks.append(CodeBlock(block.language, "".join(block.lines).removesuffix("\n")))
    return blocks


class _OpenBlock:
    """Block whose end has not been read."""

    def __init__(self, start: LineStart) -> None:
        mark = start.content[0]
        length = len(start.content) - len(start.content.lstrip(mark))
        self.num_quotes = start.num_quotes
        self.language = start.content[length:].strip().partition(" ")[0]
        self.lines: list[str] = []
        self._fence = mark * max(length, SHORTEST_FENCE)
        self._indent = start.indent

    def ends(self, line: str) -> bool:
        """Add a line; return whether it closes the block instead."""
        line = without_indent(line, self._indent)
        is_end = closes(line, self._fence)
        if not is_end:
            self.lines.append(f"{line}\n")
        return is_end
