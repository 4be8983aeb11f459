"""Chat template of a model: from a conversation to the text of the prompt.

The template is Jinja and untrusted: it runs in a sandbox (``sandbox.py``) without access to
files or modules, and is stopped if it exceeds its limits of time or memory. The rendered text
is valid Unicode.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NoReturn

import jinja2

from localrun.chat.adaptation import Adaptation, opened_turn, with_content_in_reasoning
from localrun.chat.arguments import (
    CallStyle,
    call_style,
    with_arguments,
    without_empty_content,
)
from localrun.chat.budget import Allowance, Budget, RenderLimits
from localrun.chat.fallback import supports_tools, with_tool_prompt
from localrun.chat.gotemplate.runtime import FUNCTIONS
from localrun.chat.sandbox import BoundedEnvironment
from localrun.chat.thinking import ReasoningTerms
from localrun.errors import LocalrunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType

    from localrun.chat.adaptation import Message, Render

MAX_SOURCE_CHARS = 128 * 1024  # the longest in use are some 20 KB
MAX_REASON_CHARS = 300  # of a foreign error in a message to the client
GENERATION_PROMPT = "add_generation_prompt"
# for a model without a template
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class TemplateCode:
    """A template's source and its code, which needs no texts of a model."""

    source: str
    code: CodeType


class ChatTemplate:
    """A compiled template; rendering is safe from any thread.

    Compiling or rendering without an allowance gets a new one with ``limits``.
    """

    def __init__(
        self,
        source: str | TemplateCode | None,
        *,
        bos: str,
        eos: str,
        limits: RenderLimits | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._limits = limits
        self._budget = Budget()
        if not isinstance(source, TemplateCode):
            source = compile_template(source, allowance or Allowance(limits))
        environment = _environment(self._budget)
        environment.globals.update(bos_token=bos, eos_token=eos)
        self._template = jinja2.Template.from_code(
            environment, source.code, environment.make_globals(None)
        )
        self._source = source.source
        self._supports_tools = supports_tools(self._source)
        self._reasoning = ReasoningTerms(self._source)
        self._call_style: CallStyle | None = None  # found at the first conversation with calls
        self._adaptation = Adaptation(self._source)

    @property
    def knows_effort(self) -> bool:
        """Return whether the template writes the reasoning effort into the prompt."""
        return self._reasoning.has_effort

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        add_generation_prompt: bool = True,
        allowance: Allowance | None = None,
    ) -> str:
        """Return the prompt for the next assistant message.

        Without a generation prompt, return the conversation alone.

        Raises:
            RequestTooCostlyError: the allowance is used up.
            UsageError: the template refuses the conversation, or fails on it.
        """
        allowance = allowance or Allowance(self._limits)
        if any(message.get("tool_calls") for message in messages):
            messages = self._with_calls(messages, allowance)
        if tools and not self._supports_tools:
            messages, tools = with_tool_prompt(messages, tools), ()
        render = partial(self._rendered, allowance)
        messages = self._adaptation.adapted(messages, render, partial(allowance.charge, 0))
        bound = partial(
            render, tools=tools, options=options, add_generation_prompt=add_generation_prompt
        )
        prompt = _accepted(bound, messages)
        ends_with_result = bool(messages) and messages[-1].get("role") == "tool"
        if not (ends_with_result and add_generation_prompt and GENERATION_PROMPT in self._source):
            return prompt
        return opened_turn(prompt, render, options or {})

    def _with_calls(
        self, messages: Sequence[Mapping[str, Any]], allowance: Allowance
    ) -> list[Message]:
        """Return the messages with their calls in the shape that the template reads."""
        if self._call_style is None:
            style = call_style(partial(self._rendered, allowance))
            allowance.charge(0)  # a probe that was stopped proves nothing
            self._call_style = style
        if self._call_style.has_null_content:
            messages = without_empty_content(messages)
        return with_arguments(messages, as_text=self._call_style.is_text)

    def _rendered(
        self,
        allowance: Allowance,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        variables = {
            "tools": tools or None,
            "functions": json.dumps(tools, ensure_ascii=False, indent=4) if tools else "",
            "datetime": _now("%b %d %Y %H:%M:%S GMT"),
            "date_string": _now("%d %b %Y"),  # Llama 3 writes a day of 2024 without it
            **self._reasoning.translated(options or {}),
            GENERATION_PROMPT: add_generation_prompt,
            "messages": messages,
        }
        try:
            with self._budget.spent(allowance):
                return _well_formed(self._template.render(variables))
        except LocalrunError:
            raise
        except jinja2.TemplateError as error:
            raise UsageError(
                f"the model's chat template refuses this conversation: {_reason(error)}"
            ) from error
        except Exception as error:  # foreign code may raise anything
            if not tools and variables["tools"] is None:  # a template that requires a list
                return self._rendered(
                    allowance,
                    messages,
                    options={**(options or {}), "tools": []},
                    add_generation_prompt=add_generation_prompt,
                )
            raise UsageError(
                f"the model's chat template fails on this conversation: {_reason(error)}"
            ) from error


def compile_template(source: str | None, allowance: Allowance) -> TemplateCode:
    """Return the code of a template; None means ChatML.

    Raises:
        RequestTooCostlyError: the allowance is used up.
        UsageError: the template is not valid.
    """
    source, budget = source or CHATML, Budget()
    with budget.spent(allowance):
        return TemplateCode(source, _compiled(_environment(budget), source))


def _environment(budget: Budget) -> BoundedEnvironment:
    environment = BoundedEnvironment(budget)
    environment.add_filter("tojson", _to_json)
    environment.add_functions(FUNCTIONS)
    environment.globals.update(raise_exception=_refuse, strftime_now=_now)
    return environment


def _accepted(render: Render, messages: Sequence[Message]) -> str:
    """Return the prompt of the messages, in another form if the template refuses them."""
    try:
        return render(messages)
    except UsageError:
        merged = with_content_in_reasoning(messages)
        if merged == messages:
            raise
        return render(merged)


def _compiled(environment: BoundedEnvironment, source: str) -> CodeType:
    if len(source) > MAX_SOURCE_CHARS:
        raise UsageError(f"the model's chat template is longer than {MAX_SOURCE_CHARS} characters")
    try:
        return environment.compile(source)
    except LocalrunError:
        raise
    except Exception as error:  # of Jinja, Python's compiler, or constants folded at compile time
        raise UsageError(f"the model's chat template is not valid: {_reason(error)}") from error


def _refuse(message: object) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _now(time_format: str) -> str:
    return datetime.now().astimezone().strftime(time_format)


def _to_json(
    value: Any,  # noqa: ANN401 - any JSON value
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - templates call it so
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002 - templates call it so
) -> str:
    """Return JSON, with Hugging Face's signature: keys in order, no escapes for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_listed,
    )


def _listed(value: Any) -> list[Any]:  # noqa: ANN401
    """Return the items of a generator, which filters yield, as a list."""
    if isinstance(value, GeneratorType):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _well_formed(text: str) -> str:
    """Return a text that UTF-8 can encode: surrogate pairs joined, lone surrogates replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _reason(error: BaseException) -> str:
    """Return the text of a foreign error as one short line."""
    line = " ".join(str(error)[: 10 * MAX_REASON_CHARS].split())
    short = line if len(line) <= MAX_REASON_CHARS else line[:MAX_REASON_CHARS] + "..."
    return _well_formed(short) or type(error).__name__
