"""``add_generation_prompt`` and ``continue_final_message``: where the prompt of a chat ends.

    the last message is       neither field          add_generation_prompt: false
    the user's or a tool's    a new answer begins    no generation prompt follows
    the assistant's           it is continued        it is continued

The names and the refusals are vLLM's; continuing without being asked for is what
llama-server does. ``add_generation_prompt: true`` or ``continue_final_message: false``
begins a new answer behind a message of the assistant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.chat.continuation import can_continue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.server.parsing.fields import Fields, JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptEnd:
    """The fields of `PromptSpec` with these names."""

    add_generation_prompt: bool
    continue_final_message: bool


def prompt_end(fields: Fields, messages: Sequence[JsonObject]) -> PromptEnd:
    """Return where the prompt of the messages ends.

    Raises:
        UsageError: the fields contradict each other or the messages.
    """
    adds = fields.boolean("add_generation_prompt")
    continues = fields.boolean("continue_final_message")
    if continues and adds:
        raise fields.wrong(
            "continue_final_message", "cannot be combined with add_generation_prompt: true"
        )
    if continues and not can_continue(messages):
        raise fields.wrong(
            "continue_final_message", "needs a last message of role assistant without tool calls"
        )
    if continues is None:
        continues = not adds
    return PromptEnd(add_generation_prompt=adds is not False, continue_final_message=continues)
