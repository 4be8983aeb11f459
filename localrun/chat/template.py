"""Render a conversation by the Jinja template that comes with a model.

The template is untrusted: it runs in Jinja's immutable sandbox, without access to
files or modules. One that loops for ever must be stopped from outside, which is
why rendering happens in the runner's process.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from localrun.chat.gotemplate.runtime import FUNCTIONS
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# for a model without a template of its own
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ChatTemplate:
    """A compiled template; rendering is safe from any thread."""

    def __init__(self, source: str | None, *, bos: str, eos: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals.update(FUNCTIONS)
        environment.globals.update(
            raise_exception=_refuse, strftime_now=_now, bos_token=bos, eos_token=eos
        )
        try:
            self._template = environment.from_string(source or CHATML)
        except jinja2.TemplateError as error:
            raise UsageError(f"the model's chat template is not valid: {error}") from error

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
        try:
            return self._template.render(
                **(options or {}),
                messages=messages,
                tools=tools or None,
                add_generation_prompt=True,
            )
        except jinja2.TemplateError as error:
            raise UsageError(
                f"the model's chat template refuses this conversation: {error}"
            ) from error
        except Exception as error:  # foreign code may raise anything
            raise UsageError(
                f"the model's chat template fails on this conversation: {error}"
            ) from error


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
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
