"""Find out whether a template makes its model think when nobody says anything about it.

A template that knows ``enable_thinking`` renders prompts that differ by it. Where the
default equals the prompt without thinking, the model does not think unasked; where
the template does not know the option, the model decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SAMPLE = [{"role": "user", "content": "Hello"}]


class Render(Protocol):
    """The rendering of a chat template."""

    def __call__(
        self, messages: Sequence[Mapping[str, Any]], *, options: Mapping[str, Any] | None = None
    ) -> str:
        """Return the prompt of a chat."""


def may_think_unasked(render: Render) -> bool:
    """Return whether the model may begin with a thought when the request leaves it open."""
    try:
        plain, without, thinking = (
            render(SAMPLE, options=options)
            for options in ({}, {"enable_thinking": False}, {"enable_thinking": True})
        )
    except LocalrunError:  # a template that wants other messages: the model decides
        return True
    return not (plain == without != thinking)
