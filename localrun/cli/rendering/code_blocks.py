"""Blocks of code of an answer, exactly as the model wrote them."""

from __future__ import annotations

from dataclasses import dataclass

from localrun.cli.rendering.lines import SHORTEST_FENCE, LineKind, decide
from localrun.cli.rendering.markdown_stream import closes, without_indent


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """One block of code."""

    language: str
    text: str  # without its fences; ends with a line end, unless it is empty


def code_blocks(markdown: str) -> list[CodeBlock]:
    """Return the blocks of code of a text, also one that is not closed."""
    blocks: list[CodeBlock] = []
    lines: list[str] | None = None
    fence, language, indent = "", "", 0
    for line in markdown.replace("\r\n", "\n").split("\n"):
        if lines is not None:
            if closes(line, fence):
                blocks.append(CodeBlock(language, "".join(lines)))
                lines = None
            else:
                lines.append(without_indent(line, indent) + "\n")
            continue
        start = decide(line, is_complete=True)
        if start is not None and start.kind is LineKind.FENCE:
            mark = start.content[0]
            length = len(start.content) - len(start.content.lstrip(mark))
            fence, indent, lines = mark * max(length, SHORTEST_FENCE), start.indent, []
            language = start.content[length:].strip().partition(" ")[0]
    if lines:
        blocks.append(CodeBlock(language, "".join(lines).removesuffix("\n")))
    return blocks
