"""What the reply to a request has to be, for one model: shape, calls, length of its thoughts.

    tool_choice required, a name     the grammar of calls, behind the thought
    auto, and a constraint           that constraint or calls, behind the thought
    auto                             free until a call begins, then the grammar of calls
    none, or no tools                the constraint, if there is one

Knows profiles and grammars, not tokens. Grammars compile here, so in the reader thread.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from localrun.chat.profiles.grammar import (
    ToolChoice,
    answer_frame,
    call_alternative,
    tool_grammar,
)
from localrun.chat.profiles.tools import Tool, Tools
from localrun.chat.thinking import BUDGETS
from localrun.engine.constraints import Grammars
from localrun.engine.grammar import closed
from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.engine.thought import BudgetConstraint, Thought
from localrun.errors import UsageError
from localrun.runner.thinking import may_think_unasked

if TYPE_CHECKING:
    from localrun.chat.profiles.forms import Profile
    from localrun.chat.template import ChatTemplate
    from localrun.engine.model import Model
    from localrun.engine.sequence import Constraint, Sequence
    from localrun.runner.messages import Generate

_log = logging.getLogger(__name__)


class Constraining:
    """Binds the sequences of one model; blocks while a grammar compiles."""

    def __init__(self, model: Model, template: ChatTemplate, profile: Profile) -> None:
        self._model = model
        self._template = template
        self._profile = profile
        self._grammars = Grammars(model)

    def bind(self, seq: Sequence, request: Generate, prompt: str) -> None:
        """Give a sequence what its request says the reply must be.

        Raises:
            UsageError: what is asked for cannot be held; the error names the field.
        """
        seq.constraint = self._constraint(request, prompt)
        thinking = self._profile.thinking
        if request.messages is None or thinking is None:
            return
        seq.thought = Thought(thinking.opening, thinking.closing, prompt)
        budget = self._budget(request)
        if budget is not None:
            end = self._profile.thought_end or thinking.closing
            closing = self._model.tokenize(end, is_start=False)
            seq.constraint = BudgetConstraint(seq.thought, budget, closing, seq.constraint)

    def _constraint(self, request: Generate, prompt: str) -> Constraint | None:
        spec = request.constraint
        if request.messages is None:
            return self._grammars.constrain(spec, prompt) if spec else None
        choice = ToolChoice.of(request.tool_choice, is_parallel=request.parallel_tool_calls)
        if choice.is_forced:
            return self._compiled(self._forced(request, choice), request, prompt)
        if spec is not None:
            return self._compiled(self._answer(spec, request, choice), request, prompt)
        if not request.tools or choice.mode == "none":
            return None
        lazy = self._lazy(request, choice)
        try:
            return self._compiled(lazy, request, prompt) if lazy else None
        except UsageError as error:  # nobody asked for a grammar: the parser reads calls as well
            _log.debug("calls are not bound by a grammar: %s", error.message)
            return None

    def _forced(self, request: Generate, choice: ToolChoice) -> ConstraintSpec:
        grammar = tool_grammar(
            self._profile, _tools(request), choice, control_tokens=self._control_tokens
        )
        if grammar is None:
            raise UsageError(
                "tool_choice cannot be held: nobody knows how this model calls tools",
                param="tool_choice",
            )
        around = answer_frame(self._profile, self._control_tokens, is_call=True)
        return _lark(grammar.lark, around=around)

    def _answer(
        self, spec: ConstraintSpec, request: Generate, choice: ToolChoice
    ) -> ConstraintSpec:
        calls = None
        if request.tools and choice.mode != "none":
            calls = call_alternative(
                self._profile, _tools(request), choice, control_tokens=self._control_tokens
            )
        around = answer_frame(self._profile, self._control_tokens, has_calls=calls is not None)
        return replace(spec, around=around, calls=calls or "")

    def _lazy(self, request: Generate, choice: ToolChoice) -> ConstraintSpec | None:
        grammar = tool_grammar(
            self._profile, _tools(request), choice, control_tokens=self._control_tokens
        )
        if grammar is None:
            return None
        return _lark(grammar.lark, trigger=grammar.trigger, is_once=not choice.is_parallel)

    def _compiled(self, spec: ConstraintSpec, request: Generate, prompt: str) -> Constraint:
        thinking = self._profile.thinking
        if thinking is None or not self._may_think(request, prompt):
            spec = replace(spec, opening=None, after=None)
        else:
            spec = replace(spec, opening=thinking.opening, after=thinking.closing)
        return self._grammars.constrain(spec, prompt)

    def _may_think(self, request: Generate, prompt: str) -> bool:
        thinking = self._profile.thinking
        if thinking and prompt.rstrip().endswith(thinking.opening.rstrip()):
            return True  # it does already
        is_on = request.template_options.get("enable_thinking")
        return self._may_think_unasked if is_on is None else is_on is not False

    def _budget(self, request: Generate) -> int | None:
        """Return how many tokens thoughts may have, None for any number."""
        options = request.template_options
        if options.get("enable_thinking") is False:
            return 0
        if request.thinking_budget is not None or self._template.knows_effort:
            return request.thinking_budget
        return BUDGETS.get(str(options.get("reasoning_effort")))

    @cached_property
    def _control_tokens(self) -> dict[str, int]:
        """Return which of the tags are one token that no text matches."""
        found = {text: self._model.control_token(text) for text in self._profile.special_tokens}
        return {text: token for text, token in found.items() if token is not None}

    @cached_property
    def _may_think_unasked(self) -> bool:
        return may_think_unasked(self._template)


def _lark(
    text: str, *, around: str = "", trigger: str | None = None, is_once: bool = False
) -> ConstraintSpec:
    return ConstraintSpec(
        kind=ConstraintKind.LARK,
        text=text,
        param="tools",
        around=around,
        trigger=trigger,
        is_once=is_once,
    )


def _tools(request: Generate) -> Tools:
    """Return the tools without arguments that they do not name: small models add them for ever."""
    tools = Tools.of(request.tools)
    return Tools(
        {name: Tool(name, closed(tool.parameters)) for name, tool in tools.by_name.items()}
    )
