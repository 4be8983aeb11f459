"""The grammar that forces a correct call, as text for llguidance (Lark with JSON schemas).

What a tag is depends on the vocabulary: where it is a control token, the grammar
must name the token, for no text matches it. So callers say which tags are.
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
# tags behind which the answer stands, where a family has them, and other ways to write them
_ANSWERS = {
    "<|channel|>final<|message|>": ("<|channel|>final <|constrain|>json<|message|>",),
    "<|open|>response<|sep|>": (),
    ">>>all\n": (),
}
_FRAMES = (  # that may be left out
    Tags("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    Tags("<|START_TEXT|>", "<|END_TEXT|>"),
)
_TURN = "<|start|>assistant"  # harmony writes it again behind a thought
Mode = Literal["auto", "required", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """What a request says about calling: which tools, whether it must, and how often."""

    mode: Mode = "auto"
    name: str | None = None  # the one that must be called
    is_parallel: bool = True

    @classmethod
    def of(cls, text: str, *, is_parallel: bool) -> ToolChoice:
        """Read "auto", "none", "required" or the name of a tool."""
        if text in {"auto", "none", "required"}:
            return cls(mode=cast("Mode", text), is_parallel=is_parallel)
        return cls(mode="required", name=text, is_parallel=is_parallel)

    @property
    def is_forced(self) -> bool:
        """Return whether there must be a call."""
        return self.mode == "required" or self.name is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolGrammar:
    """A grammar for all calls of an answer."""

    lark: str
    trigger: str | None  # free until this text; the grammar says what follows. None = at once


def tool_grammar(
    profile: Profile,
    tools: Tools,
    choice: ToolChoice,
    *,
    control_tokens: Mapping[str, int] | None = None,
) -> ToolGrammar | None:
    """Return the grammar of the calls that a request allows; None where nothing is forced.

    ``control_tokens`` are those of the profile's ``special_tokens`` that are one control token in
    the vocabulary, with its id.

    Raises:
        UsageError: the choice names no tool of the request, or there are none to choose from.
    """
    form = profile.tool_call
    if choice.mode == "none" or form is None or not (tools.by_name or choice.is_forced):
        return None
    allowed = _allowed(tools, choice)
    opening = form.region.openings[0]
    if choice.is_forced:
        is_open = profile.prompt_tail.rstrip().endswith(opening)
        lark = LarkRules(control_tokens or {}).calls(
            form,
            allowed,
            skipped=opening if is_open else "",
            is_parallel=choice.is_parallel,
            is_whole=True,
        )
        return ToolGrammar(lark=lark, trigger=None)
    # without a tag, a call is known when it has ended; and some tags begin answers, too
    if form.region.is_bare or any(tag.startswith(opening) for tag in profile.dropped):
        return None
    lark = LarkRules(control_tokens or {}).calls(
        form, allowed, skipped=opening, is_parallel=choice.is_parallel, is_whole=False
    )
    return ToolGrammar(lark=lark, trigger=opening)


def call_alternative(
    profile: Profile,
    tools: Tools,
    choice: ToolChoice,
    *,
    control_tokens: Mapping[str, int] | None = None,
) -> str | None:
    """Return the grammar of calls that may come in place of an answer that must be something.

    Bare calls are written as schemas: a literal would take any "{" for a call's beginning.
    """
    form = profile.tool_call
    if form is None or not tools.by_name:
        return None
    if isinstance(form, JsonCalls) and form.is_bare:
        return "start: " + " | ".join(
            json_rule(_as_schema(form, tool)) for tool in tools.by_name.values()
        )
    must = replace(choice, mode="required")
    grammar = tool_grammar(profile, tools, must, control_tokens=control_tokens)
    return grammar.lark if grammar else None


def answer_frame(
    profile: Profile,
    control_tokens: Mapping[str, int],
    *,
    is_call: bool = False,
    has_calls: bool = False,
) -> str:
    """Return what stands around an answer, as a rule of @answer and @calls; "" for nothing.

    ``is_call`` says that the answer is calls, ``has_calls`` that calls may come instead.
    """
    lark = LarkRules(control_tokens)
    turn = f"({lark.literal(_TURN)})? " if _TURN in profile.dropped else ""
    answer = "@answer" if is_call else _tagged_answer(profile, lark)
    if not (turn or has_calls) and answer == "@answer":
        return ""
    return lark.grammar(f"{turn}({answer} | @calls)" if has_calls else f"{turn}{answer}").rstrip()


def _tagged_answer(profile: Profile, lark: LarkRules) -> str:
    """Return the answer with the tags that the family has around it."""
    tail = profile.prompt_tail.rstrip()
    tag = next((tag for tag in _ANSWERS if tag in profile.dropped), "")
    if tag and not tail.endswith(tag.rstrip()):
        ways = " | ".join(map(lark.literal, (tag, *_ANSWERS[tag])))
        return f"({ways}) @answer" if _ANSWERS[tag] else f"{ways} @answer"
    frame = next((tags for tags in _FRAMES if tags.opening in profile.dropped), None)
    if frame is None:
        return "@answer"
    opening = "" if tail.endswith(frame.opening) else f"({lark.literal(frame.opening)})? "
    return f"{opening}@answer ({lark.literal(frame.closing)})?"


def _as_schema(form: JsonCalls, tool: Tool) -> JsonObject:
    shared = {key: tool.parameters[key] for key in _SHARED if key in tool.parameters}
    return {
        "type": "object",
        "properties": {
            form.name_key: {"const": tool.name},
            form.arguments_key: tool.parameters,
        },
        "required": [form.name_key, form.arguments_key],
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
