"""Extensions of Jinja: a tag that is of use in training only, and the metering of the parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2.ext import Extension

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2 import nodes
    from jinja2.lexer import Token, TokenStream
    from jinja2.parser import Parser


class GenerationTag(Extension):
    """``{% generation %} ... {% endgeneration %}`` is what it holds."""

    tags = {"generation"}  # noqa: RUF012 - as the base class declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements inside."""
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class Metered(Extension):
    """Checks the time at each token, while a template is parsed."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Return the tokens, as steps of the environment."""
        steps: Iterator[Token] = self.environment.steps(stream)  # type: ignore[attr-defined]  # a `BoundedEnvironment`
        return steps
