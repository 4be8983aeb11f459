"""The grammar that forces a correct call, as text for llguidance (Lark with JSON schemas).

What a tag is depends on the vocabulary: where it is a control token, the grammar
must name the token, for no text matches it. So callers say which tags are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, cast

from localrun.chat.profiles.forms import FreeText, Json, Maybe, Pattern, Piece, Profile
from localrun.chat.profiles.json_calls import JsonCalls
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from localrun.chat.profiles.forms import CallForm
    from localrun.chat.profiles.tools import JsonObject, Tool, Tools

ANY_TEXT = r"/(.|\n)*/"
# a client's schema may have what llguidance does not know: that is ignored, not refused
_LENIENT = {
    "x-guidance": {
        "lenient": True,
        # a blank or none: with any number a small model writes them until its context is full
        "whitespace_flexible": False,
        "item_separator": ", ?",
        "key_separator": ": ?",
    }
}
_SHARED = ("$defs", "definitions")
# tags behind which the answer stands, where a family has them
_ANSWERS = ("<|channel|>final<|message|>", "<|open|>response<|sep|>", ">>>all\n")
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
        """Tell whether there must be a call."""
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
        lark = _Lark(control_tokens or {}).calls(
            form, allowed, skipped=opening if is_open else "", is_parallel=choice.is_parallel
        )
        return ToolGrammar(lark=lark, trigger=None)
    # without a tag, a call is known when it has ended; and some tags begin answers, too
    if form.region.is_bare or any(tag.startswith(opening) for tag in profile.dropped):
        return None
    lark = _Lark(control_tokens or {}).calls(
        form, allowed, skipped=opening, is_parallel=choice.is_parallel
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
            _json(_as_schema(form, tool)) for tool in tools.by_name.values()
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
    lark = _Lark(control_tokens)
    turn = f"({lark.literal(_TURN)})? " if _TURN in profile.dropped else ""
    tag = next((tag for tag in _ANSWERS if tag in profile.dropped), "")
    if is_call or profile.prompt_tail.rstrip().endswith(tag.rstrip()):
        tag = ""
    if not (turn or tag or has_calls):
        return ""
    answer = " ".join(filter(None, (lark.literal(tag), "@answer")))
    return f"start: {turn}({answer} | @calls)" if has_calls else f"start: {turn}{answer}"


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


def _json(schema: JsonObject) -> str:
    return f"%json {json.dumps({**schema, **_LENIENT})}"


def _allowed(tools: Tools, choice: ToolChoice) -> Tools:
    if choice.name is not None and choice.name not in tools.by_name:
        raise UsageError(
            f"tool_choice names the tool {choice.name!r}, which is not among the tools",
            hint="name one of: " + ", ".join(tools.by_name) if tools.by_name else "send tools",
        )
    if not tools.by_name:
        raise UsageError("tool_choice requires a call, but there are no tools", hint="send tools")
    return tools if choice.name is None else type(tools)({choice.name: tools.by_name[choice.name]})


@dataclass(slots=True)
class _Lark:
    """The rules that are written so far."""

    control_tokens: Mapping[str, int]
    rules: list[str] = field(default_factory=list)

    def calls(self, form: CallForm, tools: Tools, *, skipped: str, is_parallel: bool) -> str:
        """Return the grammar of all calls, of which ``skipped`` stands there already.

        What stands before a call goes into one literal with its beginning: the lexer is
        greedy, and would take a separator for the beginning of the frame's closing.
        """
        frame = form.frame
        calls = [list(form.pieces(tool)) for tool in tools.by_name.values()]
        first = self._any_of("first", calls, before=frame.opening, skipped=skipped)
        more = ""
        if is_parallel:
            more = self._any_of("more", calls, before=frame.separator) + "*"
        self.rules.append(f"start: {first} {more} {self._sequence([frame.closing])}")
        return "\n".join(reversed(self.rules)) + "\n"

    def _any_of(
        self, name: str, calls: Sequence[Sequence[Piece]], *, before: str, skipped: str = ""
    ) -> str:
        names = [f"{name}_{index}" for index in range(len(calls))]
        for rule, (start, *others) in zip(names, calls, strict=True):
            text = before + start if isinstance(start, str) else before
            if skipped:
                text = text.lstrip().removeprefix(skipped)
            self.rules.append(f"{rule}: {self._sequence([text, *others])}")
        self.rules.append(f"{name}: {' | '.join(names)}")
        return name

    def _sequence(self, pieces: Iterable[Piece]) -> str:
        return " ".join(filter(None, map(self._expression, pieces)))

    def _expression(self, piece: Piece) -> str:
        match piece:
            case str():
                return self.literal(piece)
            case Json(schema):
                return self._rule(_json(schema))
            case Pattern(regex):
                return f"/{regex.replace('/', chr(92) + '/')}/"
            case Maybe(pieces):
                return f"({self._sequence(pieces)})?"
            case FreeText(closing):
                return self._text_until(closing)

    def _text_until(self, closing: str) -> str:
        if any(token in closing for token in self.control_tokens):
            return f"{ANY_TEXT} {self.literal(closing)}"
        return self._rule(ANY_TEXT, f"[suffix={json.dumps(closing, ensure_ascii=False)}]")

    def _rule(self, expression: str, attributes: str = "") -> str:
        name = f"part_{len(self.rules)}"
        self.rules.append(f"{name}{attributes}: {expression}")
        return name

    def literal(self, text: str) -> str:
        """Write a text, its control tokens by their ids."""
        pattern = "|".join(map(re.escape, sorted(self.control_tokens, key=len, reverse=True)))
        parts = re.split(f"({pattern})", text) if pattern else [text]
        return " ".join(
            f"<[{self.control_tokens[part]}]>"
            if part in self.control_tokens
            else json.dumps(part, ensure_ascii=False)
            for part in parts
            if part
        )
