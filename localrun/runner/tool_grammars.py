"""Cache of the grammars of tool calls, by the tools of a conversation.

Agents send the same tools with every request, and their grammar takes tens of milliseconds to
generate. All methods run on the preparation threads, one at a time.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

from localrun.chat.profiles.grammar import call_alternative, tool_grammar
from localrun.chat.profiles.tools import Tool, Tools
from localrun.engine.constraints.grammar import LARGEST_TEXT
from localrun.engine.constraints.json_schema import llguidance_schema
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from localrun.chat.profiles.grammar import ToolChoice, ToolGrammar
    from localrun.chat.profiles.profile import Profile
    from localrun.runner.messages import JsonObject

MAX_CACHED = 16
T = TypeVar("T")


class ToolGrammars:
    """Generated grammars by their inputs; the least recently used is evicted."""

    def __init__(self) -> None:
        self._cached: OrderedDict[tuple[object, ...], object] = OrderedDict()

    def grammar(
        self,
        profile: Profile,
        tools: Sequence[JsonObject],
        choice: ToolChoice,
        control_tokens: Mapping[str, int],
    ) -> ToolGrammar | None:
        """Return the grammar of the calls that a request allows; None if the profile has no calls.

        Raises:
            UsageError: the choice names a tool that the request lacks, or the request has none.
        """
        return self._get_or_generate(
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
        """Return the grammar of calls as an alternative to a constrained answer."""
        return self._get_or_generate(
            ("alternative", profile, _key(tools), choice, *control_tokens.items()),
            lambda: call_alternative(
                profile, _bounded(tools, choice), choice, control_tokens=control_tokens
            ),
        )

    def _get_or_generate(self, key: tuple[object, ...], generate: Callable[[], T]) -> T:
        if key not in self._cached:
            self._cached[key] = generate()
        self._cached.move_to_end(key)
        if len(self._cached) > MAX_CACHED:
            self._cached.popitem(last=False)
        return self._cached[key]  # type: ignore[return-value]  # the first part of the key states the type


def _key(tools: Sequence[JsonObject]) -> str:
    return json.dumps(tools)


def _bounded(tools: Sequence[JsonObject], choice: ToolChoice) -> Tools:
    """Return the tools with closed schemas: small models add arguments that a tool lacks.

    Raises:
        UsageError: a grammar of the tools would be too large.
    """
    by_name = Tools.of(tools).by_name
    schemas = [tool.parameters for tool in by_name.values() if choice.name in {None, tool.name}]
    size = len(json.dumps(schemas, ensure_ascii=False))
    if size > LARGEST_TEXT:
        raise UsageError(
            f"tools has {size} characters, a grammar may have at most {LARGEST_TEXT}",
            param="tools",
        )
    return Tools(
        {name: Tool(name, llguidance_schema(tool.parameters)) for name, tool in by_name.items()}
    )
