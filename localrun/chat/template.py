"""Render a conversation by the Jinja template that comes with a model.

The template is untrusted: it runs in a sandbox (``sandbox.py``), without access to
files or modules, and is stopped when it uses too much time or memory.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cached_property
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NoReturn

import jinja2

from localrun.chat.adaptation import Adaptation, with_content_in_thoughts
from localrun.chat.arguments import (
    hides_calls,
    wants_text,
    with_arguments,
    without_empty_content,
)
from localrun.chat.budget import Budget, RenderLimits, TemplateStoppedError
from localrun.chat.fallback import knows_tools, told_of_tools
from localrun.chat.gotemplate.runtime import FUNCTIONS
from localrun.chat.sandbox import BoundedEnvironment
from localrun.chat.thinking import knows_effort, thinking_words
from localrun.chat.turns import GENERATION_PROMPT, Turns
from localrun.errors import UsageError

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
    """A compiled template; rendering is safe from any thread."""

    def __init__(
        self, source: str | None, *, bos: str, eos: str, limits: RenderLimits | None = None
    ) -> None:
        self._budget = Budget(limits or RenderLimits())
        environment = BoundedEnvironment(self._budget)
        environment.add_filter("tojson", _to_json)
        environment.add_functions(FUNCTIONS)
        environment.globals.update(
            raise_exception=_refuse, strftime_now=_now, bos_token=bos, eos_token=eos
        )
        self._template = _compiled(environment, source or CHATML)
        self._source = source or CHATML
        self._knows_tools = knows_tools(self._source)
        self._adaptation = Adaptation(self._source, self._rendered)
        self._turns = Turns(self._rendered) if GENERATION_PROMPT in self._source else None

    @property
    def knows_effort(self) -> bool:
        """Tell whether it passes on how much the model is to think."""
        return knows_effort(self._source)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the prompt that asks for the next assistant message.

        Raises:
            UsageError: the template refuses the conversation, or fails on it.
        """
        if any(message.get("tool_calls") for message in messages):
            messages = self._with_calls(messages)
        if tools and not self._knows_tools:
            messages, tools = told_of_tools(messages, tools), ()
        messages = self._adaptation.adapted(messages)
        try:
            prompt = self._rendered(messages, tools=tools, options=options)
        except UsageError:
            merged = with_content_in_thoughts(messages)
            if merged == messages:
                raise
            prompt = self._rendered(merged, tools=tools, options=options)
        if self._turns is None or not messages or messages[-1].get("role") != "tool":
            return prompt
        return self._turns.opened(prompt, options)

    def _with_calls(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the messages with their calls as the template wants them."""
        if self._hides_calls:
            messages = without_empty_content(messages)
        return with_arguments(messages, as_text=self._wants_text)

    @cached_property
    def _hides_calls(self) -> bool:
        return hides_calls(self._rendered)

    @cached_property
    def _wants_text(self) -> bool:
        return wants_text(self._rendered, has_null_content=self._hides_calls)

    def _rendered(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        asks: bool = True,
    ) -> str:
        variables = {
            "tools": tools or None,
            "functions": json.dumps(tools, ensure_ascii=False, indent=4) if tools else "",
            "datetime": _now("%b %d %Y %H:%M:%S GMT"),
            "date_string": _now("%d %b %Y"),  # as Llama 3 has it; without it a day of 2024
            **thinking_words(self._source, options or {}),
            "messages": messages,
            GENERATION_PROMPT: asks,
        }
        try:
            with self._budget.spent():
                return self._template.render(variables)
        except TemplateStoppedError as error:
            raise UsageError(f"the model's chat template is stopped: {error}") from error
        except jinja2.TemplateError as error:
            raise UsageError(
                f"the model's chat template refuses this conversation: {error}"
            ) from error
        except Exception as error:  # foreign code may raise anything
            if not tools and variables["tools"] is None:  # written for requests with tools only
                return self._rendered(messages, options={**(options or {}), "tools": []}, asks=asks)
            raise UsageError(
                f"the model's chat template fails on this conversation: {error}"
            ) from error


def _compiled(environment: BoundedEnvironment, source: str) -> jinja2.Template:
    if len(source) > MAX_SOURCE_CHARS:
        raise UsageError(f"the model's chat template is longer than {MAX_SOURCE_CHARS} characters")
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise UsageError(f"the model's chat template is not valid: {error}") from error
    except (RecursionError, MemoryError, SyntaxError, ValueError) as error:  # of Python's compiler
        raise UsageError(f"the model's chat template is not valid: {error}") from error


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


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
