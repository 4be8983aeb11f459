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

    def __call__(self, messages: Sequence[Mapping[str, Any]], *, options: Mapping[str, Any]) -> str:
        """Return the prompt."""


def opened_turn(prompt: str, render: Render, options: Mapping[str, Any]) -> str:
    """Return a prompt that ends with the end of a turn with the model's turn opened."""
    try:
        closed = render(_PROBE, options={**options, GENERATION_PROMPT: False})
        asking = render(_PROBE, options={**options, GENERATION_PROMPT: True})
    except UsageError:  # the template wants other messages
        return prompt
    end = closed.rpartition(_QUESTION)[2]
    if not end.strip() or not asking.startswith(closed) or not prompt.endswith(end):
        return prompt
    return prompt + asking.removeprefix(closed)
