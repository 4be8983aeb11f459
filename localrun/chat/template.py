"""Render a conversation by the Jinja template that comes with a model.

The template is untrusted: it runs in a sandbox (``sandbox.py``), without access to
files or modules, and is stopped when it uses too much time or memory.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NoReturn

import jinja2

from localrun.chat.adaptation import Adaptation, with_content_in_thoughts
from localrun.chat.arguments import (
    CallStyle,
    call_style,
    with_arguments,
    without_empty_content,
)
from localrun.chat.budget import Allowance, Budget, RenderLimits
from localrun.chat.fallback import knows_tools, told_of_tools
from localrun.chat.gotemplate.runtime import FUNCTIONS
from localrun.chat.sandbox import BoundedEnvironment
from localrun.chat.thinking import knows_effort, thinking_words
from localrun.chat.turns import GENERATION_PROMPT, opened_turn
from localrun.chat.wellformed import reason_of, well_formed
from localrun.errors import LocalrunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_SOURCE_CHARS = 128 * 1024  # the longest in use are some 20 KB
# for a model without a template of its own
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ChatTemplate:
    """A compiled template; rendering is safe from any thread.

    Whatever is given no allowance, the compilation as a render, has one of its own by ``limits``.
    """

    def __init__(
        self,
        source: str | None,
        *,
        bos: str,
        eos: str,
        limits: RenderLimits | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._limits = limits
        self._budget = Budget()
        environment = BoundedEnvironment(self._budget)
        environment.add_filter("tojson", _to_json)
        environment.add_functions(FUNCTIONS)
        environment.globals.update(
            raise_exception=_refuse, strftime_now=_now, bos_token=bos, eos_token=eos
        )
        with self._budget.spent(allowance or Allowance(limits)):
            self._template = _compiled(environment, source or CHATML)
        self._source = source or CHATML
        self._knows_tools = knows_tools(self._source)
        self._call_style: CallStyle | None = None  # found out when there are calls
        self._adaptation = Adaptation(self._source)

    @property
    def knows_effort(self) -> bool:
        """Return whether it passes on how much the model is to think."""
        return knows_effort(self._source)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        add_generation_prompt: bool = True,
        allowance: Allowance | None = None,
    ) -> str:
        """Return the prompt that asks for the next assistant message.

        Without a generation prompt, return the conversation alone.

        Raises:
            RequestTooCostlyError: the allowance is used up.
            UsageError: the template refuses the conversation, or fails on it.
        """
        allowance = allowance or Allowance(self._limits)
        if any(message.get("tool_calls") for message in messages):
            messages = self._with_calls(messages, allowance)
        options = {**(options or {}), GENERATION_PROMPT: add_generation_prompt}
        if tools and not self._knows_tools:
            messages, tools = told_of_tools(messages, tools), ()
        render = partial(self._rendered, allowance)
        messages = self._adaptation.adapted(messages, render, partial(allowance.charge, 0))
        prompt = self._accepted(allowance, messages, tools, options)
        is_answered = bool(messages) and messages[-1].get("role") == "tool"
        if not (is_answered and add_generation_prompt and GENERATION_PROMPT in self._source):
            return prompt
        return opened_turn(prompt, render, options)

    def _accepted(
        self,
        allowance: Allowance,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> str:
        """Return the conversation rendered, in another form if the template refuses the first."""
        try:
            return self._rendered(allowance, messages, tools=tools, options=options)
        except UsageError:
            merged = with_content_in_thoughts(messages)
            if merged == messages:
                raise
            return self._rendered(allowance, merged, tools=tools, options=options)

    def _with_calls(
        self, messages: Sequence[Mapping[str, Any]], allowance: Allowance
    ) -> list[Mapping[str, Any]]:
        """Return the messages with their calls as the template wants them."""
        if self._call_style is None:
            found = call_style(partial(self._rendered, allowance))
            allowance.charge(0)  # a probe that was stopped proves nothing
            self._call_style = found
        if self._call_style.has_null_content:
            messages = without_empty_content(messages)
        return with_arguments(messages, as_text=self._call_style.is_text)

    def _rendered(
        self,
        allowance: Allowance,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
    ) -> str:
        variables = {
            "tools": tools or None,
            "functions": json.dumps(tools, ensure_ascii=False, indent=4) if tools else "",
            "datetime": _now("%b %d %Y %H:%M:%S GMT"),
            "date_string": _now("%d %b %Y"),  # as Llama 3 has it; without it a day of 2024
            GENERATION_PROMPT: True,
            **thinking_words(self._source, options or {}),
            "messages": messages,
        }
        try:
            with self._budget.spent(allowance):
                return well_formed(self._template.render(variables))
        except LocalrunError:
            raise
        except jinja2.TemplateError as error:
            raise UsageError(
                f"the model's chat template refuses this conversation: {reason_of(error)}"
            ) from error
        except Exception as error:  # foreign code may raise anything
            if not tools and variables["tools"] is None:  # written for requests with tools only
                return self._rendered(allowance, messages, options={**(options or {}), "tools": []})
            raise UsageError(
                f"the model's chat template fails on this conversation: {reason_of(error)}"
            ) from error


def _compiled(environment: BoundedEnvironment, source: str) -> jinja2.Template:
    if len(source) > MAX_SOURCE_CHARS:
        raise UsageError(f"the model's chat template is longer than {MAX_SOURCE_CHARS} characters")
    try:
        return environment.from_string(source)
    except LocalrunError:
        raise
    except Exception as error:  # of Jinja, Python's compiler, constants that are computed early
        raise UsageError(f"the model's chat template is not valid: {reason_of(error)}") from error


def _refuse(message: object) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _to_json(
    value: Any,  # noqa: ANN401 - any JSON value
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - templates call it so
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002 - templates call it so
) -> str:
    """Write JSON with Hugging Face's signature: keys in order, nothing escaped for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_listed,
    )


def _listed(value: Any) -> list[Any]:  # noqa: ANN401
    """Write what a filter yields as a list."""
    if isinstance(value, GeneratorType):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
