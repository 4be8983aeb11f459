"""Grammars of tool calls, written once for the tools of a conversation.

Agents send the same tools with every request, and their grammar takes tens of milliseconds
to write. Used by the reader's thread.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

from localrun.chat.profiles.grammar import call_alternative, tool_grammar
from localrun.chat.profiles.tools import Tool, Tools
from localrun.engine.constraints.grammar import LARGEST_TEXT, engine_schema
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from localrun.chat.profiles.grammar import ToolChoice, ToolGrammar
    from localrun.chat.profiles.profile import Profile
    from localrun.runner.messages import JsonObject

MOST_KEPT = 16
T = TypeVar("T")


class ToolGrammars:
    """The grammars that were written last, by what they depend on."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], object] = OrderedDict()

    def grammar(
        self,
        profile: Profile,
        tools: Sequence[JsonObject],
        choice: ToolChoice,
        control_tokens: Mapping[str, int],
    ) -> ToolGrammar | None:
        """Return the grammar of the calls that a request allows; None where nothing is forced.

        Raises:
            UsageError: the choice names no tool of the request, or there are none.
        """
        return self._once(
            ("grammar", profile, _key(tools), choice, *control_tokens.items()),
            lambda: tool_grammar(
                profile, _bounded(tools, choice), choice, control_tokens=control_tokens
            ),
        )

    def alternative(
        self,
        profile: Profile,
        tools: Sequence[JsonObject],
        choice: ToolChoice,
        control_tokens: Mapping[str, int],
    ) -> str | None:
        """Return the grammar of calls that may come in place of an answer."""
        return self._once(
            ("alternative", profile, _key(tools), choice, *control_tokens.items()),
            lambda: call_alternative(
                profile, _bounded(tools, choice), choice, control_tokens=control_tokens
            ),
        )

    def _once(self, key: tuple[object, ...], write: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = write()
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]  # type: ignore[return-value]  # as its key was written


def _key(tools: Sequence[JsonObject]) -> str:
    return json.dumps(tools)


def _bounded(tools: Sequence[JsonObject], choice: ToolChoice) -> Tools:
    """Return the tools without arguments that they do not name: small models add them.

    Raises:
        UsageError: a grammar of them would be too large.
    """
    by_name = Tools.of(tools).by_name
    bound = [tool.parameters for tool in by_name.values() if choice.name in {None, tool.name}]
    size = len(json.dumps(bound, ensure_ascii=False))
    if size > LARGEST_TEXT:
        raise UsageError(
            f"tools has {size} characters, at most {LARGEST_TEXT} are taken for a grammar",
            param="tools",
        )
    return Tools(
        {name: Tool(name, engine_schema(tool.parameters)) for name, tool in by_name.items()}
    )
