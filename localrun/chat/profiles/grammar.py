"""Grammars that force correct tool calls, as text for llguidance (Lark with JSON schemas).

A tag may be one control token of the vocabulary, which no text matches: the grammar must name the
token. So callers pass the tags that are control tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from localrun.chat.profiles.formats.format import Tags
from localrun.chat.profiles.formats.json_calls import JsonCalls
from localrun.chat.profiles.lark import LarkRules, json_rule
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.chat.profiles.profile import Profile
    from localrun.chat.profiles.tools import JsonObject, Tool, Tools

_SHARED = ("$defs", "definitions")
# tags that begin the answer, with alternatives that models write
_ANSWERS = {
    "<|channel|>final<|message|>": ("<|channel|>final <|constrain|>json<|message|>",),
    "<|open|>response<|sep|>": (),
    ">>>all\n": (),
}
_FRAMES = (  # optional tags around the answer
    Tags("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    Tags("<|START_TEXT|>", "<|END_TEXT|>"),
)
_TURN = "<|start|>assistant"  # harmony writes it again behind reasoning
Mode = Literal["auto", "required", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """The ``tool_choice`` of a request, with whether parallel calls are allowed."""

    mode: Mode = "auto"
    name: str | None = None  # of the tool that must be called
    is_parallel: bool = True

    @classmethod
    def of(cls, text: str, *, is_parallel: bool) -> ToolChoice:
        """Return the choice for "auto", "none", "required" or the name of a tool."""
        if text in {"auto", "none", "required"}:
            return cls(mode=cast("Mode", text), is_parallel=is_parallel)
        return cls(mode="required", name=text, is_parallel=is_parallel)

    @property
    def is_forced(self) -> bool:
        """Return whether the request requires a call."""
        return self.mode == "required" or self.name is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolGrammar:
    """The grammar of all calls of an answer."""

    lark: str
    trigger: str | None  # the grammar applies behind this text; from the start if None


def tool_grammar(
    profile: Profile,
    tools: Tools,
    choice: ToolChoice,
    *,
    control_tokens: Mapping[str, int] | None = None,
) -> ToolGrammar | None:
    """Return the grammar of the calls that a request allows, or None if nothing is forced.

    ``control_tokens`` are those of the profile's ``special_tokens`` that are one control token in
    the vocabulary, with its id.

    Raises:
        UsageError: the choice names a tool that the request lacks, or the request has no tools.
    """
    call_format = profile.tool_call
    if choice.mode == "none" or call_format is None or not (tools.by_name or choice.is_forced):
        return None
    allowed = _allowed(tools, choice)
    opening = call_format.region.openings[0]
    if choice.is_forced:
        is_open = profile.prompt_tail.rstrip().endswith(opening)
        lark = LarkRules(control_tokens or {}).calls(
            call_format,
            allowed,
            skipped=opening if is_open else "",
            is_parallel=choice.is_parallel,
            is_whole=True,
        )
        return ToolGrammar(lark=lark, trigger=None)
    # a call without tags is known only when it has ended, and some tags begin answers, too
    if call_format.region.is_bare or any(tag.startswith(opening) for tag in profile.dropped):
        return None
    lark = LarkRules(control_tokens or {}).calls(
        call_format, allowed, skipped=opening, is_parallel=choice.is_parallel, is_whole=False
    )
    return ToolGrammar(lark=lark, trigger=opening)


def call_alternative(
    profile: Profile,
    tools: Tools,
    choice: ToolChoice,
    *,
    control_tokens: Mapping[str, int] | None = None,
) -> str | None:
    """Return the grammar of calls that may replace a constrained answer, or None.

    Calls without tags are written as schemas: a literal would match any "{" of an answer.
    """
    call_format = profile.tool_call
    if call_format is None or not tools.by_name:
        return None
    if isinstance(call_format, JsonCalls) and call_format.is_bare:
        return "start: " + " | ".join(
            json_rule(_as_schema(call_format, tool)) for tool in tools.by_name.values()
        )
    required = replace(choice, mode="required")
    grammar = tool_grammar(profile, tools, required, control_tokens=control_tokens)
    return grammar.lark if grammar else None


def answer_frame(
    profile: Profile,
    control_tokens: Mapping[str, int],
    *,
    is_call: bool = False,
    has_calls: bool = False,
) -> str:
    """Return the rule of the text around @answer and @calls; empty if there is none.

    With ``is_call`` the answer consists of calls; with ``has_calls`` calls may replace it.
    """
    lark = LarkRules(control_tokens)
    turn = f"({lark.literal(_TURN)})? " if _TURN in profile.dropped else ""
    answer = "@answer" if is_call else _tagged_answer(profile, lark)
    if not (turn or has_calls) and answer == "@answer":
        return ""
    return lark.grammar(f"{turn}({answer} | @calls)" if has_calls else f"{turn}{answer}").rstrip()


def _tagged_answer(profile: Profile, lark: LarkRules) -> str:
    """Return the expression of the answer with the family's tags around it."""
    tail = profile.prompt_tail.rstrip()
    tag = next((tag for tag in _ANSWERS if tag in profile.dropped), "")
    if tag and not tail.endswith(tag.rstrip()):
        options = " | ".join(map(lark.literal, (tag, *_ANSWERS[tag])))
        return f"({options}) @answer" if _ANSWERS[tag] else f"{options} @answer"
    frame = next((tags for tags in _FRAMES if tags.opening in profile.dropped), None)
    if frame is None:
        return "@answer"
    opening = "" if tail.endswith(frame.opening) else f"({lark.literal(frame.opening)})? "
    return f"{opening}@answer ({lark.literal(frame.closing)})?"


def _as_schema(call_format: JsonCalls, tool: Tool) -> JsonObject:
    shared = {key: tool.parameters[key] for key in _SHARED if key in tool.parameters}
    return {
        "type": "object",
        "properties": {
            call_format.name_key: {"const": tool.name},
            call_format.arguments_key: tool.parameters,
        },
        "required": [call_format.name_key, call_format.arguments_key],
        "additionalProperties": False,
        **shared,
    }


def _allowed(tools: Tools, choice: ToolChoice) -> Tools:
    if choice.name is not None and choice.name not in tools.by_name:
        raise UsageError(
            f"tool_choice names the tool {choice.name!r}, which is not among the tools",
            hint="name one of: " + ", ".join(tools.by_name) if tools.by_name else "send tools",
        )
    if not tools.by_name:
        raise UsageError("tool_choice requires a call, but there are no tools", hint="send tools")
    return tools if choice.name is None else type(tools)({choice.name: tools.by_name[choice.name]})
