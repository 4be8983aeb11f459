"""Highlighting of code, line by line, by the lexers of Pygments: for the terminal and the page.

A lexer's state is kept between two lines. Only lexers of common languages are used, and long lines
stay plain, so that the time for a line is bounded. Invariant: the text of a line is not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_LINE = 400  # characters
MAX_STEPS = 2000  # of the lexer, for a line
LANGUAGES = {
    "bash": "bash", "sh": "bash", "shell": "bash", "zsh": "bash", "c": "c", "h": "c", "cpp": "cpp",
    "c++": "cpp", "csharp": "csharp", "cs": "csharp", "css": "css", "diff": "diff",
    "dockerfile": "docker", "go": "go", "haskell": "haskell", "html": "html", "ini": "ini",
    "java": "java", "javascript": "javascript", "js": "javascript", "json": "json",
    "kotlin": "kotlin", "lua": "lua", "makefile": "make", "make": "make", "php": "php",
    "python": "python", "py": "python", "r": "r", "ruby": "ruby", "rb": "ruby", "rust": "rust",
    "rs": "rust", "scala": "scala", "sql": "sql", "swift": "swift", "toml": "toml",
    "typescript": "typescript", "ts": "typescript", "xml": "xml", "yaml": "yaml", "yml": "yaml",
    "zig": "zig",
}  # fmt: skip


class LineLexer:
    """Lexer of one block of code."""

    def __init__(self, language: str) -> None:
        self._lexer = _lexer(language)
        self._stack: list[str] = ["root"]

    def line(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield the pieces of the next line, each after the name of its token type.

        The name is that of Pygments, such as ``Literal.String``; "" is plain text. The line has no
        line end.
        """
        if self._lexer is None or len(text) > LONGEST_LINE:
            yield "", text
            return
        written = 0
        for token, piece in self._tokens(text + "\n"):
            visible = piece[: len(text) - written]
            written += len(visible)
            if visible:
                yield "" if token is None else str(token).removeprefix("Token."), visible

    def _tokens(self, text: str) -> Iterator[tuple[Any, str]]:
        """Yield token types and pieces, as `RegexLexer` does, with the state of the last line."""
        position, definitions = 0, self._lexer._tokens  # noqa: SLF001 - its loop forgets the state
        for _ in range(MAX_STEPS):
            if position >= len(text):
                return
            for match_at, action, new_state in definitions[self._stack[-1]]:
                match = match_at(text, position)
                if match is None:
                    continue
                if action is not None:
                    yield from self._acted(action, match)
                self._move(new_state)
                position = match.end()
                break
            else:
                if text[position] == "\n":
                    self._stack = ["root"]
                yield None, text[position]
                position += 1
        yield None, text[position:]

    def _acted(self, action: Any, match: Any) -> Iterator[tuple[Any, str]]:  # noqa: ANN401 - of pygments
        from pygments.token import _TokenType

        if type(action) is _TokenType:
            yield action, match.group()
        else:
            yield from ((token, piece) for _, token, piece in action(self._lexer, match))

    def _move(self, new_state: Any) -> None:  # noqa: ANN401 - of pygments
        """Change the stack of states as `RegexLexer` does."""
        states = new_state if isinstance(new_state, tuple) else (new_state,)
        for state in states:
            if state is None:
                continue
            if state == "#push":
                self._stack.append(self._stack[-1])
            elif state == "#pop" or isinstance(state, int):
                count = 1 if state == "#pop" else -state
                del self._stack[max(1, len(self._stack) - count) :]
            else:
                self._stack.append(state)
        del self._stack[MAX_STEPS:]


def _lexer(language: str) -> Any:  # noqa: ANN401 - of pygments
    """Return the lexer of a language, None if it is not one of those that are known."""
    name = LANGUAGES.get(language.lower())
    if name is None:
        return None
    from pygments.lexer import ExtendedRegexLexer, RegexLexer
    from pygments.lexers import get_lexer_by_name

    lexer = get_lexer_by_name(name, ensurenl=False, stripnl=False)
    is_regular = isinstance(lexer, RegexLexer) and not isinstance(lexer, ExtendedRegexLexer)
    return lexer if is_regular else None
