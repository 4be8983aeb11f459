r"""Formulas of Markdown as MathML: ``$x$``, ``$$x$$``, ``\(x\)`` and ``\[x\]``.

A rule for markdown-it-py, and the conversion by latex2mathml. That library writes text without
escaping it, so its element tree is written here: known elements, known attributes, escaped text.
A formula that is too long or that the library cannot read is shown as it was written.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

FORMULA = "formula"
LONGEST = 2000  # characters of a formula
MAX_DEPTH = 40  # of braces: the library calls itself for each
MAX_LINES = 60  # of a formula that has lines of its own
PAIRS = (("$$", "$$", True), (r"\[", r"\]", True), (r"\(", r"\)", False), ("$", "$", False))
ELEMENTS = frozenset(
    {
        "math", "mrow", "mi", "mo", "mn", "ms", "mtext", "msup", "msub", "msubsup", "mfrac",
        "msqrt", "mroot", "mover", "munder", "munderover", "mtable", "mtr", "mtd", "mspace",
        "mstyle", "menclose", "mpadded", "mphantom", "merror", "mmultiscripts", "mprescripts",
        "none",
    }
)  # fmt: skip
ATTRIBUTES = frozenset(
    {
        "mathvariant", "stretchy", "fence", "form", "separator", "accent", "accentunder",
        "displaystyle", "scriptlevel", "linethickness", "minsize", "maxsize", "width",
        "height", "depth", "lspace", "rspace", "rowspacing", "columnspacing", "columnalign",
        "rowalign", "columnlines", "rowlines", "notation", "voffset", "display",
        "movablelimits",
    }
)  # fmt: skip
VALUE = re.compile(r"[\w.#%+\- ]{0,60}", re.ASCII)


def add_formulas(parser: MarkdownIt) -> None:
    """Let a parser read formulas."""
    parser.inline.ruler.before("escape", FORMULA, _inline)
    parser.block.ruler.before(
        "fence", FORMULA, _block, {"alt": ["paragraph", "blockquote", "list"]}
    )
    parser.add_render_rule(FORMULA, _render)


def mathml(latex: str, *, is_display: bool) -> str | None:
    """Return the MathML of a formula, None if it cannot be converted."""
    if len(latex) > LONGEST or _depth(latex) > MAX_DEPTH:
        return None
    from latex2mathml.converter import convert_to_element

    try:
        display = "block" if is_display else "inline"
        return "".join(_written(convert_to_element(latex, display=display)))
    except Exception:  # noqa: BLE001 - a parser of foreign text, which documents no errors
        return None


def _depth(latex: str) -> int:
    deepest = depth = 0
    for character in latex:
        depth += (character in "{[") - (character in "}]")
        deepest = max(deepest, depth)
    return deepest + latex.count("\\left") + latex.count("\\begin")


def _written(element: Element) -> Iterator[str]:
    """Yield the markup of an element."""
    if element.tag not in ELEMENTS:
        raise ValueError(f"{element.tag} is no element of a formula")
    attributes = "".join(
        f' {name}="{value}"'
        for name, value in element.attrib.items()
        if name in ATTRIBUTES and VALUE.fullmatch(value)
    )
    yield f"<{element.tag}{attributes}>"
    yield _escaped(element.text)
    for child in element:
        yield from _written(child)
        yield _escaped(child.tail)
    yield f"</{element.tag}>"


def _escaped(text: str | None) -> str:
    """Return text of the library, which writes symbols as references to characters."""
    return html.escape(html.unescape(text)) if text else ""


def _inline(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as markdown-it calls it
    source, start = state.src, state.pos
    if source[start] not in "$\\":
        return False
    for opening, closing, is_display in PAIRS:
        if not source.startswith(opening, start):
            continue
        end = source.find(closing, start + len(opening), start + LONGEST)
        content = source[start + len(opening) : end] if end > 0 else ""
        if not _is_formula(content, opening, source[end + 1 : end + 2]):
            return False
        if not silent:
            _push(state, content, is_display=is_display)
        state.pos = end + len(closing)
        return True
    return False


def _is_formula(content: str, opening: str, following: str) -> bool:
    """Return whether a text between two marks is a formula; prices in dollars are not."""
    if not content.strip() or "\n\n" in content:
        return False
    if opening != "$":
        return True
    is_tight = not (content[0].isspace() or content[-1].isspace())
    return is_tight and not following.isdigit() and "\n" not in content


def _block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:  # noqa: FBT001
    """Read a formula that begins a line and ends one: its lines are no Markdown."""
    first = _line(state, start_line)
    pair = next((pair for pair in PAIRS[:2] if first.startswith(pair[0])), None)
    if pair is None or state.is_code_block(start_line):
        return False
    opening, closing, _ = pair
    lines = [first.removeprefix(opening)]
    last_line = min(end_line, start_line + MAX_LINES)
    line = start_line
    while not lines[-1].rstrip().endswith(closing):
        line += 1
        if line >= last_line or state.isEmpty(line):
            return False
        lines.append(_line(state, line))
    content = "\n".join(lines).rstrip().removesuffix(closing)
    if closing in content or not content.strip():
        return False  # text follows a formula on its line
    if not silent:
        token = _push(state, content, is_display=True)
        token.block, token.map = True, [start_line, line + 1]
        state.line = line + 1
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _push(state: StateInline | StateBlock, content: str, *, is_display: bool) -> Token:
    token = state.push(FORMULA, "math", 0)
    token.content, token.markup = content, "display" if is_display else "inline"
    return token


def _render(
    _self: RendererHTML, tokens: list[Token], index: int, _options: OptionsDict, _env: EnvType
) -> str:
    token = tokens[index]
    latex = token.content.strip()
    written = mathml(latex, is_display=token.markup == "display")
    if written is None:
        written = f"<code>{html.escape(latex)}</code>"
    return f'<span class="formula {token.markup}">{written}</span>'
