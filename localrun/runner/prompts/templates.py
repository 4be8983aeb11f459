"""Chat templates of one model: its own, and those of recipes on the same weights.

Owns the cache of compiled templates with what was discovered about each. All methods may be
called from any thread.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from localrun.chat.continuation import can_continue, continued_prompt
from localrun.chat.media_marks import numbered
from localrun.chat.profiles.discovery import discovered_profile
from localrun.chat.profiles.wire import profile_to_json
from localrun.chat.template import ChatTemplate, TemplateCode, compile_template
from localrun.chat.thinking import may_reason_by_default
from localrun.runner.prompts.control_tokens import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.budget import Allowance
    from localrun.chat.profiles.profile import Profile
    from localrun.runner.messages import JsonObject, PromptSpec

MAX_CACHED = 8
SUFFIX = re.compile(r"\bsuffix\b")  # variable of a template that supports fill-in-the-middle


@dataclass(frozen=True, slots=True)
class AnalyzedTemplate:
    """What a template's source determines without a model: its code, and the discovered profile."""

    source: str | None
    code: TemplateCode
    profile: Profile


class ChatFormat:
    """A compiled template, and the discovered profile of its model's output."""

    def __init__(self, analyzed: AnalyzedTemplate, *, bos: str, eos: str) -> None:
        self._template = ChatTemplate(analyzed.code, bos=bos, eos=eos)
        self._thinks_by_default: bool | None = None  # computed on first use
        self.fills_gaps = bool(analyzed.source and SUFFIX.search(analyzed.source))
        self.profile = analyzed.profile
        self.profile_json: JsonObject = profile_to_json(self.profile)

    @property
    def knows_effort(self) -> bool:
        """Return whether the template passes ``reasoning_effort`` on to the model."""
        return self._template.knows_effort

    def thinks_by_default(self, allowance: Allowance) -> bool:
        """Return whether the model may start with a thought if the request does not say.

        Raises:
            RequestTooCostlyError: the allowance is used up.
        """
        if self._thinks_by_default is None:
            thinks = may_reason_by_default(partial(self._template.render, allowance=allowance))
            allowance.charge(0)  # raises if the allowance stopped a rendering, which proves nothing
            self._thinks_by_default = thinks
        return self._thinks_by_default

    def render(self, spec: PromptSpec, control_texts: Sequence[str], allowance: Allowance) -> str:
        """Return the prompt of the messages, with marks (control_tokens.py, media_marks.py).

        Raises:
            UsageError: the template rejects the conversation, or fails.
        """
        messages = guard(numbered(spec.messages or ()), control_texts, allowance)
        render = partial(
            self._template.render,
            tools=spec.tools,
            options=spec.template_options,
            allowance=allowance,
        )
        if spec.continue_final_message and can_continue(messages):
            return continued_prompt(render, messages, self.profile)
        return render(messages, add_generation_prompt=spec.add_generation_prompt)

    def render_gap(self, prefix: str, suffix: str, allowance: Allowance) -> str:
        """Return the fill-in-the-middle prompt for two texts with marks.

        Raises:
            UsageError: the template fails.
        """
        messages = [{"role": "user", "content": prefix}]
        return self._template.render(messages, options={"suffix": suffix}, allowance=allowance)


def analyze(source: str | None, allowance: Allowance) -> AnalyzedTemplate:
    """Return the code and the profile of a template; None means no template.

    Raises:
        UsageError: the template is not valid.
        RequestTooCostlyError: the allowance is used up.
    """
    code = compile_template(source, allowance)
    return AnalyzedTemplate(source, code, discovered_profile(source, allowance, code))


class TemplateModel(Protocol):
    """Texts of a model that its templates need."""

    @property
    def chat_template(self) -> str | None:
        """Return the model's own template, or None."""

    @property
    def bos(self) -> str:
        """Return the text of the beginning-of-sequence token."""

    @property
    def eos(self) -> str:
        """Return the text of the end-of-sequence token."""

    @property
    def control_texts(self) -> list[str]:
        """Return the texts of the control tokens in a prompt."""


class Templates:
    """Cache of compiled templates by source, the least recently used is evicted."""

    def __init__(self, model: TemplateModel) -> None:
        self._model = model
        # Guards _cached. No other lock is taken and no template is compiled while it is held.
        self._lock = threading.Lock()
        self._cached: OrderedDict[str | None, ChatFormat] = OrderedDict()

    @property
    def control_texts(self) -> list[str]:
        """Return the texts of the control tokens in a prompt."""
        return self._model.control_texts

    def chat(self, source: str | None, allowance: Allowance) -> ChatFormat:
        """Return the compiled template of a source; None means the model's own.

        Raises:
            UsageError: the template is not valid.
            RequestTooCostlyError: the allowance is used up.
        """
        source = source or self._model.chat_template
        with self._lock:
            cached = self._cached.get(source)
            if cached is not None:
                self._cached.move_to_end(source)
                return cached
        return self.add(analyze(source, allowance))

    def add(self, analyzed: AnalyzedTemplate) -> ChatFormat:
        """Keep a template that is already analyzed, and return it for this model."""
        chat = ChatFormat(analyzed, bos=self._model.bos, eos=self._model.eos)
        with self._lock:
            self._cached[analyzed.source] = chat
            if len(self._cached) > MAX_CACHED:
                self._cached.popitem(last=False)
        return chat

    def render(self, spec: PromptSpec, allowance: Allowance) -> str:
        """Return the prompt of the messages, by the template that it names.

        Raises:
            UsageError: the template is not valid, or rejects the conversation.
        """
        chat = self.chat(spec.chat_template, allowance)
        return chat.render(spec, self._model.control_texts, allowance)
