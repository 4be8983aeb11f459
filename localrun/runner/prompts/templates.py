"""The chat templates of one model: recipes on the same weights may each have their own.

Safe from any thread. What compiling a template and looking at it gives is kept for
the ones that were used last.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from localrun.chat.continuation import can_continue, continued_prompt
from localrun.chat.profiles.discovery import discovered_profile
from localrun.chat.profiles.wire import profile_to_json
from localrun.chat.template import ChatTemplate
from localrun.chat.thinking import may_reason_by_default
from localrun.runner.prompts.control_tokens import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.budget import Allowance
    from localrun.runner.messages import JsonObject, PromptSpec

MOST_KEPT = 8
SUFFIX = re.compile(r"\bsuffix\b")  # the variable of a template that can fill a gap


class ChatFormat:
    """One template, and what is known of how its model writes."""

    def __init__(self, source: str | None, template: ChatTemplate, allowance: Allowance) -> None:
        self._template = template
        self._may_think_unasked: bool | None = None  # found out when it matters
        self.fills_gaps = bool(source and SUFFIX.search(source))
        self.known = discovered_profile(source, allowance)
        self.profile: JsonObject = profile_to_json(self.known)  # for the wire

    @property
    def knows_effort(self) -> bool:
        """Return whether the template passes on how much the model is to think."""
        return self._template.knows_effort

    def may_think_unasked(self, allowance: Allowance) -> bool:
        """Return whether the model may begin with a thought when a request leaves it open.

        Raises:
            RequestTooCostlyError: the allowance is used up.
        """
        if self._may_think_unasked is None:
            found = may_reason_by_default(partial(self._template.render, allowance=allowance))
            allowance.charge(0)  # a probe that was stopped proves nothing
            self._may_think_unasked = found
        return self._may_think_unasked

    def render(self, spec: PromptSpec, control_texts: Sequence[str], allowance: Allowance) -> str:
        """Return the prompt of the messages, with marks (prompt.py).

        Raises:
            UsageError: the template refuses the conversation, or fails on it.
        """
        messages = guard(spec.messages or (), control_texts, allowance)
        render = partial(
            self._template.render,
            tools=spec.tools,
            options=spec.template_options,
            allowance=allowance,
        )
        if spec.continue_final_message and can_continue(messages):
            return continued_prompt(render, messages, self.known)
        return render(messages, add_generation_prompt=spec.add_generation_prompt)

    def render_gap(self, prefix: str, suffix: str, allowance: Allowance) -> str:
        """Return the prompt that asks for what stands between two texts with marks.

        Raises:
            UsageError: the template fails on it.
        """
        messages = [{"role": "user", "content": prefix}]
        return self._template.render(messages, options={"suffix": suffix}, allowance=allowance)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTexts:
    """What templates need of a model."""

    own_template: str | None
    bos: str
    eos: str
    control_texts: list[str]


class Templates:
    """The templates that were asked for, by their source."""

    def __init__(self, texts: TemplateTexts) -> None:
        self._texts = texts
        self._lock = threading.Lock()  # guards what is kept; none compiles under it
        self._kept: OrderedDict[str | None, ChatFormat] = OrderedDict()

    @property
    def control_texts(self) -> list[str]:
        """Return what the control tokens look like in a prompt."""
        return self._texts.control_texts

    def chat(self, source: str | None, allowance: Allowance) -> ChatFormat:
        """Return the chat of a template; None means the model's own.

        Raises:
            UsageError: the template is not valid.
            RequestTooCostlyError: the allowance is used up.
        """
        source = source or self._texts.own_template
        with self._lock:
            found = self._kept.pop(source, None)
            if found is not None:
                self._kept[source] = found  # the newest is the last
                return found
        texts = self._texts
        template = ChatTemplate(source, bos=texts.bos, eos=texts.eos, allowance=allowance)
        found = ChatFormat(source, template, allowance)
        with self._lock:
            self._kept[source] = found
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    def render(self, spec: PromptSpec, allowance: Allowance) -> str:
        """Return the prompt of the messages by their template.

        Raises:
            UsageError: the template is not valid, or refuses the conversation.
        """
        chat = self.chat(spec.chat_template, allowance)
        return chat.render(spec, self._texts.control_texts, allowance)
