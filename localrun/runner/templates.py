"""The chat templates of one model: recipes on the same weights may each have their own.

Used by the reader's thread. What compiling a template and looking at it gives is kept for
the ones that were used last.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from localrun.chat.continuation import can_continue, continued_prompt
from localrun.chat.profiles.discovery import discovered_profile
from localrun.chat.profiles.wire import profile_to_json
from localrun.chat.template import ChatTemplate
from localrun.runner.messages import Generate
from localrun.runner.prompt import guard
from localrun.runner.thinking import may_think_unasked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.runner.messages import JsonObject, Tokenize

MOST_KEPT = 8
SUFFIX = re.compile(r"\bsuffix\b")  # the variable of a template that can fill a gap


class Chat:
    """One template, and what is known of how its model writes."""

    def __init__(self, source: str | None, template: ChatTemplate) -> None:
        self._template = template
        self.fills_gaps = bool(source and SUFFIX.search(source))
        self.known = discovered_profile(source)
        self.profile: JsonObject = profile_to_json(self.known)  # for the wire

    @property
    def knows_effort(self) -> bool:
        """Tell whether the template passes on how much the model is to think."""
        return self._template.knows_effort

    @cached_property
    def may_think_unasked(self) -> bool:
        """Tell whether the model may begin with a thought when a request leaves it open."""
        return may_think_unasked(self._template)

    def render(self, request: Generate | Tokenize, control_texts: Sequence[str]) -> str:
        """Return the prompt of the request's messages, with marks (prompt.py).

        Raises:
            UsageError: the template refuses the conversation, or fails on it.
        """
        messages = guard(request.messages or (), control_texts)
        render = partial(self._template.render, tools=request.tools, options=_options(request))
        if request.continue_final_message and can_continue(messages):
            return continued_prompt(render, messages, self.known)
        return render(messages, add_generation_prompt=request.add_generation_prompt)

    def render_gap(self, prefix: str, suffix: str) -> str:
        """Return the prompt that asks for what stands between two texts with marks.

        Raises:
            UsageError: the template fails on it.
        """
        messages = [{"role": "user", "content": prefix}]
        return self._template.render(messages, options={"suffix": suffix})


def _options(request: Generate | Tokenize) -> JsonObject:
    """Return the options with the budget, which a few templates tell their model."""
    if not isinstance(request, Generate) or request.thinking_budget is None:
        return request.template_options
    return {"thinking_budget": request.thinking_budget, **request.template_options}


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What templates need of a model."""

    own_template: str | None
    bos: str
    eos: str
    control_texts: list[str]


class Templates:
    """The templates that were asked for, by their source."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._kept: OrderedDict[str | None, Chat] = OrderedDict()

    @property
    def control_texts(self) -> list[str]:
        """Return what the control tokens look like in a prompt."""
        return self._texts.control_texts

    def chat(self, source: str | None) -> Chat:
        """Return the chat of a template; None means the model's own.

        Raises:
            UsageError: the template is not valid.
        """
        source = source or self._texts.own_template
        found = self._kept.get(source)
        if found is None:
            template = ChatTemplate(source, bos=self._texts.bos, eos=self._texts.eos)
            found = self._kept[source] = Chat(source, template)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(source)
        return found

    def render(self, request: Generate | Tokenize) -> str:
        """Return the prompt of the request's messages by the template that it names.

        Raises:
            UsageError: the template is not valid, or refuses the conversation.
        """
        return self.chat(request.chat_template).render(request, self._texts.control_texts)
