"""Turns of a template: open the model's turn where the template closed it and opened none.

Gemma 4 writes a call, its result and the text of the call's message into one turn, closes
it, and then takes the result for the end of an open turn. The model would have to begin
with the opening itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GENERATION_PROMPT = "add_generation_prompt"
_QUESTION = "zqquestion"
_PROBE = [{"role": "user", "content": _QUESTION}]


class Render(Protocol):
    """Renders a conversation as it is given."""

    def __call__(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        options: Mapping[str, Any] | None = None,
        asks: bool = True,
    ) -> str:
        """Return the prompt, with the opening of the model's turn if it ``asks``."""


class Turns:
    """How one template ends a turn and opens the model's."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def opened(self, prompt: str, options: Mapping[str, Any] | None) -> str:
        """Return a prompt that ends with the end of a turn with the model's turn opened."""
        try:
            closed = self._render(_PROBE, options=options, asks=False)
            asking = self._render(_PROBE, options=options)
        except UsageError:  # the template wants other messages
            return prompt
        end = closed.rpartition(_QUESTION)[2]
        if not end.strip() or not asking.startswith(closed) or not prompt.endswith(end):
            return prompt
        return prompt + asking.removeprefix(closed)
