"""Markdown as blocks of HTML, by markdown-it-py: untrusted text in, harmless markup out.

A block is a paragraph, a list, a table or the like at the top of a text, with the line on which it
begins. Later text changes none but the last block, so that a page that receives a text in pieces
asks for the last block and what follows it, and gets the same blocks as for the whole text.
Definitions of links, which would break this, are text.

Invariants: no HTML of the text passes; links lead to http, https and mailto alone; nothing is
loaded (images become links); the time is bounded, and text that takes too long is shown plain.
"""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from localrun.server.rendering.code_html import code_html
from localrun.server.rendering.formulas import add_formulas

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.ruler import RuleOptionsType
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

MAX_NESTING = 20
LONGEST_PARAGRAPH = 20_000  # characters in which markup is read
PARSE_S = 0.5  # of a processor, for one text
HIGHLIGHT_S = 0.5  # and for its code
ADDRESS = re.compile(r"https?://[^\s<>\"'`]{3,2000}", re.IGNORECASE)
LINK = re.compile(r"(?:https?://|mailto:)[^\s]+", re.IGNORECASE)
AFTER_ADDRESS = ".,;:!?)]}*_"
CELLS = frozenset({"th_open", "td_open"})
LOWER_HEADINGS = 2  # the page has headings of its own
LOWEST_HEADING = 6
BOXES = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


@dataclass(frozen=True, slots=True)
class MarkdownBlock:
    """One block of a text; ``line`` counts from 0."""

    line: int
    html: str


class _TooSlowError(Exception):
    """The text took more than its time, or is nested too deeply."""


def render_blocks(
    text: str, *, parse_s: float = PARSE_S, highlight_s: float = HIGHLIGHT_S
) -> list[MarkdownBlock]:
    """Return the blocks of a text, whose line ends are line feeds; blocks."""
    parser = _parser()
    env: dict[str, Any] = {"has_time": _timer(parse_s)}
    try:
        tokens = parser.parse(text, env)
        env["has_time"] = _timer(highlight_s)
        return [
            MarkdownBlock(group[0].map[0] if group[0].map else 0, _render(parser, group, env))
            for group in _top_level(tokens)
        ]
    except (_TooSlowError, RecursionError):
        return [MarkdownBlock(0, f'<p class="plain" dir="auto">{html.escape(text)}</p>')]


def _timer(seconds: float) -> Callable[[], bool]:
    """Return a function that returns whether this thread has computed for less than some time."""
    deadline_s = time.thread_time() + seconds
    return lambda: time.thread_time() < deadline_s


def _top_level(tokens: list[Token]) -> Iterator[list[Token]]:
    """Yield the tokens of each block."""
    group: list[Token] = []
    for token in tokens:
        group.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield group
            group = []


def _render(parser: MarkdownIt, tokens: list[Token], env: dict[str, Any]) -> str:
    markup = parser.renderer.render(tokens, parser.options, env)
    return str(markup)


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    options = {"html": False, "breaks": True, "maxNesting": MAX_NESTING}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.disable(["reference", "html_block", "html_inline"])
    parser.validateLink = lambda url: LINK.fullmatch(url) is not None  # type: ignore[method-assign]
    add_formulas(parser)
    names: RuleOptionsType = {"alt": ["paragraph", "blockquote", "list"]}
    parser.block.ruler.before("table", "time", _check_block, names)
    parser.inline.ruler.before("text", "time", _check_time)
    parser.core.ruler.before("inline", "long", _keep_long)
    parser.core.ruler.push("dress", _dress)
    for name in ("fence", "code_block"):
        parser.add_render_rule(name, _code)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("table_open", lambda *_: '<div class="scroll" tabindex="0"><table>')
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    return parser


def _check_block(state: Any, *_position: Any) -> bool:  # noqa: ANN401 - of a block
    """Stop the parser also where blocks are so deep in others that it would leave them out."""
    if state.level >= MAX_NESTING - 2:
        raise _TooSlowError
    return _check_time(state)


def _check_time(state: Any, *_position: Any) -> bool:  # noqa: ANN401 - of a block or of a line
    """Stop the parser when its time is over; as a rule, it never matches."""
    if not state.env["has_time"]():
        raise _TooSlowError
    return False


def _keep_long(state: StateCore) -> None:
    """Make paragraphs plain in which the search for markup could take long."""
    for token in state.tokens:
        if token.type == "inline" and len(token.content) > LONGEST_PARAGRAPH:
            token.type, token.children = "text", []


def _dress(state: StateCore) -> None:
    """Add directions, classes and links; lower the headings."""
    for token in state.tokens:
        if token.nesting == 1 and (token.level == 0 or token.type in CELLS):
            token.attrSet("dir", "auto")  # of the whole block: inner ones follow it
        if token.type in {"heading_open", "heading_close"}:
            level = min(int(token.tag[1]) + LOWER_HEADINGS, LOWEST_HEADING)
            token.tag = f"h{level}"
        style = token.attrs.pop("style", None)
        if isinstance(style, str):  # the alignment of a cell; the page allows no style
            token.attrSet("class", style.rpartition(":")[2])
        if token.type == "inline" and token.children:
            token.children = list(_linked(token.children, state))
            first = token.children[0]
            if first.type == "text" and first.content[:4] in BOXES and token.level > 1:
                first.content = BOXES[first.content[:4]] + first.content[4:]


def _linked(children: list[Token], state: StateCore) -> Iterator[Token]:
    """Yield the tokens of a paragraph, with links for addresses in its text."""
    depth = 0
    for token in children:
        depth += (token.type == "link_open") - (token.type == "link_close")
        if token.type == "link_open":
            _open_outside(token)
        if token.type == "text" and not depth and "://" in token.content:
            yield from _addresses(token, state)
        else:
            yield token


def _addresses(token: Token, _state: StateCore) -> Iterator[Token]:
    from markdown_it.token import Token as NewToken

    position = 0
    for match in ADDRESS.finditer(token.content):
        address = match[0].rstrip(AFTER_ADDRESS)
        yield NewToken("text", "", 0, content=token.content[position : match.start()])
        opening = NewToken("link_open", "a", 1, attrs={"href": address})
        _open_outside(opening)
        yield opening
        yield NewToken("text", "", 0, content=address)
        yield NewToken("link_close", "a", -1)
        position = match.start() + len(address)
    yield NewToken("text", "", 0, content=token.content[position:])


def _open_outside(link: Token) -> None:
    link.attrSet("target", "_blank")
    link.attrSet("rel", "noopener noreferrer nofollow")


def _code(
    _self: RendererHTML, tokens: list[Token], index: int, _options: object, env: dict[str, Any]
) -> str:
    token = tokens[index]
    language = token.info.strip().split(maxsplit=1)[:1] if token.info else []
    return code_html(token.content, "".join(language), env["has_time"])


def _image(
    _self: RendererHTML, tokens: list[Token], index: int, _options: object, _env: dict[str, Any]
) -> str:
    """Return a link in place of an image: to load it would reveal the chat to its server."""
    token = tokens[index]
    address, name = str(token.attrs.get("src", "")), token.content or "image"
    return (
        f'<a href="{html.escape(address)}" target="_blank" rel="noopener noreferrer nofollow">'
        f"{html.escape(name)}</a>"
    )
