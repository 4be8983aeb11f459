"""Blocks of code of an answer, exactly as the model wrote them."""

from __future__ import annotations

from dataclasses import dataclass

from localrun.cli.rendering.fences import Fence
from localrun.cli.rendering.lines import LineKind, decide


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """One block of code."""

    language: str
    text: str  # without its fences; ends with a line end, unless it is empty


def code_blocks(markdown: str) -> list[CodeBlock]:
    """Return the blocks of code of a text, also one that is not closed."""
    blocks: list[CodeBlock] = []
    fence: Fence | None = None
    lines: list[str] = []
    for line in markdown.replace("\r\n", "\n").split("\n"):
        if fence is not None:
            code = fence.code(line)
            if code is not None and not fence.is_closed_by(code):
                lines.append(f"{code}\n")
                continue
            blocks.append(CodeBlock(fence.language, "".join(lines)))
            fence, lines = None, []
            if code is not None:
                continue
        start = decide(line, is_complete=True)
        if start is not None and start.kind is LineKind.FENCE:
            fence = Fence.of(start)
    if fence is not None and lines:
        blocks.append(CodeBlock(fence.language, "".join(lines).removesuffix("\n")))
    return blocks
