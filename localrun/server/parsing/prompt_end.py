"""``add_generation_prompt`` and ``continue_final_message``: the end of a chat's prompt.

    the last message is       neither field          add_generation_prompt: false
    the user's or a tool's    a new answer begins    no generation prompt follows
    the assistant's           it is continued        it is continued

The names and the refusals are vLLM's; continuing by default is llama-server's behaviour.
``add_generation_prompt: true`` or ``continue_final_message: false`` begins a new answer behind a
message of the assistant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.chat.continuation import can_continue
from localrun.server.parsing.table import Table, flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.table import Values

_ADDS, _CONTINUES = flag("add_generation_prompt"), flag("continue_final_message")
PROMPT_END = Table((_ADDS, _CONTINUES))


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptEnd:
    """The fields of `PromptSpec` with these names."""

    add_generation_prompt: bool
    continue_final_message: bool


def prompt_end(values: Values, messages: Sequence[JsonObject]) -> PromptEnd:
    """Return the end of the messages' prompt, by the rows of `PROMPT_END`.

    Raises:
        UsageError: the fields contradict each other or the messages.
    """
    adds, continues, fields = values[_ADDS], values[_CONTINUES], values.fields
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
