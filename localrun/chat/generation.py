"""The tag with which templates mark what the model writes; of use in training only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2.ext import Extension

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.parser import Parser


class Generation(Extension):
    """``{% generation %} ... {% endgeneration %}`` is what it holds."""

    tags = {"generation"}  # noqa: RUF012 - as the base class declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements inside."""
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))
