"""Structured output of a request: constraint, tool choice and thinking budget of its reply.

    tool_choice                      constraint of the reply
    required, or a name              the grammar of calls, behind the thought
    auto, with a constraint          that constraint or calls, behind the thought
    auto                             free until a call starts, then the grammar of calls
    none, or no tools                the constraint of the request, if any

Knows chat profiles and grammars, not sampling. All methods run on the preparation threads,
one at a time; grammars are compiled there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.chat.continuation import continued_content
from localrun.chat.profiles.grammar import ToolChoice, answer_frame
from localrun.chat.thinking import BUDGETS
from localrun.engine.constraints.compiler import GrammarCompiler
from localrun.engine.constraints.thinking_budget import ThinkingBudgetConstraint, ThinkingTracker
from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import RequestTooCostlyError, UsageError
from localrun.runner.tool_grammars import ToolGrammars

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.chat.budget import Allowance
    from localrun.chat.profiles.profile import Profile
    from localrun.engine.llama.model import Model
    from localrun.engine.sequence import Constraint, Sequence
    from localrun.runner.messages import Generation
    from localrun.runner.prompts.templates import ChatFormat

_log = logging.getLogger(__name__)


class ReplyConstraints:
    """Constraints for the sequences of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._compiler = GrammarCompiler(model)
        self._tool_grammars = ToolGrammars()

    def bind(
        self,
        seq: Sequence,
        generation: Generation,
        prompt: str,
        chat: ChatFormat,
        allowance: Allowance,
    ) -> None:
        """Set constraint and thinking tracker of a sequence; block while a grammar compiles.

        Raises:
            UsageError: the constraint is invalid or unsupported; the error names the field.
        """
        if generation.prompt.messages is None:
            spec = generation.constraint
            seq.constraint = self._compiler.constrain(spec, prompt) if spec else None
            return
        seq.constraint = self._constraint(generation, prompt, chat, allowance)
        thinking = chat.profile.thinking
        if thinking is None:
            return
        seq.thinking = ThinkingTracker(thinking.opening, thinking.closing, prompt)
        budget = _budget(generation, chat)
        if budget is not None:
            seq.constraint = ThinkingBudgetConstraint(
                ThinkingTracker(thinking.opening, thinking.closing, prompt),
                self._model.pieces,
                budget=budget,
                closing=self._model.tokenize_inside(chat.profile.thought_end),
                inner=seq.constraint,
            )

    def _constraint(
        self, generation: Generation, prompt: str, chat: ChatFormat, allowance: Allowance
    ) -> Constraint | None:
        control_tokens = self._control_tokens(chat.profile)
        selection = _ConstraintSelection(
            generation, chat.profile, control_tokens, self._tool_grammars
        )
        try:
            spec = selection.spec
            if spec is None:
                return None
            may_think = _may_think(generation, prompt, chat, allowance)
            thinking = chat.profile.thinking if may_think else None
            spec = replace(
                spec,
                opening=thinking.opening if thinking else None,
                after=thinking.closing if thinking else None,
                breaks=_breaks(chat.profile) if thinking and spec.trigger else (),
            )
            return self._compiler.constrain(spec, prompt, prefix=selection.continued_text)
        except RequestTooCostlyError:
            raise
        except UsageError as error:
            if selection.is_required:
                raise
            _log.debug("calls are not constrained by a grammar: %s", error.message)
            return None  # the stream parser reads unconstrained calls too

    def _control_tokens(self, profile: Profile) -> dict[str, int]:
        """Return the tags of a profile that are a single control token."""
        tokens = {text: self._model.control_token(text) for text in profile.special_tokens}
        return {text: token for text, token in tokens.items() if token is not None}


@dataclass(frozen=True, slots=True)
class _ConstraintSelection:
    """Choice of the constraint of one request, for the profile of its model."""

    generation: Generation
    profile: Profile
    control_tokens: Mapping[str, int]
    grammars: ToolGrammars

    @property
    def spec(self) -> ConstraintSpec | None:
        """Return the constraint, or None if the reply is free."""
        if self.choice.is_forced:
            return self._forced_calls()
        if self.generation.constraint is not None:
            return self._constrained_answer(self.generation.constraint)
        return self._triggered_calls() if self._may_call else None

    @property
    def continued_text(self) -> str:
        """Return the part of the constrained answer that the prompt already contains."""
        if self.choice.is_forced or self.generation.constraint is None:
            return ""
        return self._continued

    @property
    def _continued(self) -> str:
        if not self.generation.prompt.continue_final_message:
            return ""
        return continued_content(self.generation.prompt.messages or (), self.profile)

    @property
    def is_required(self) -> bool:
        """Return whether the request fails without its constraint."""
        return self.choice.is_forced or self.generation.constraint is not None

    @property
    def choice(self) -> ToolChoice:
        """Return the tool choice of the generation."""
        return ToolChoice.of(
            self.generation.tool_choice, is_parallel=self.generation.parallel_tool_calls
        )

    @property
    def _may_call(self) -> bool:
        return bool(self.generation.prompt.tools) and self.choice.mode != "none"

    def _forced_calls(self) -> ConstraintSpec:
        grammar = self.grammars.grammar(
            self.profile, self.generation.prompt.tools, self.choice, self.control_tokens
        )
        if grammar is None:
            raise UsageError(
                "tool_choice cannot be enforced: the format of this model's tool calls is unknown",
                param="tool_choice",
            )
        around = answer_frame(self.profile, self.control_tokens, is_call=True)
        return _calls(grammar.lark, around=around)

    def _constrained_answer(self, spec: ConstraintSpec) -> ConstraintSpec:
        if self._continued:  # the content has started: no tag and no call can precede it
            return spec
        calls = None
        if self._may_call:
            calls = self.grammars.alternative(
                self.profile, self.generation.prompt.tools, self.choice, self.control_tokens
            )
        around = answer_frame(self.profile, self.control_tokens, has_calls=calls is not None)
        return replace(spec, around=around, calls=calls or "")

    def _triggered_calls(self) -> ConstraintSpec | None:
        grammar = self.grammars.grammar(
            self.profile, self.generation.prompt.tools, self.choice, self.control_tokens
        )
        if grammar is None:
            return None
        is_once = not self.choice.is_parallel
        return _calls(grammar.lark, trigger=grammar.trigger, is_once=is_once)


def _calls(
    lark: str, *, around: str = "", trigger: str | None = None, is_once: bool = False
) -> ConstraintSpec:
    return ConstraintSpec(
        kind=ConstraintKind.LARK,
        text=lark,
        param="tools",
        around=around,
        trigger=trigger,
        is_once=is_once,
    )


def _breaks(profile: Profile) -> tuple[str, ...]:
    """Return the texts that end an unclosed thought: openings of calls and of the answer."""
    calls = profile.tool_call.region.all_openings if profile.tool_call else ()
    return (*calls, *profile.answer_openings)


def _may_think(generation: Generation, prompt: str, chat: ChatFormat, allowance: Allowance) -> bool:
    thinking = chat.profile.thinking
    if thinking and prompt.rstrip().endswith(thinking.opening.rstrip()):
        return True  # the prompt opened a thought
    is_on = generation.prompt.template_options.get("enable_thinking")
    return chat.thinks_by_default(allowance) if is_on is None else is_on is not False


def _budget(generation: Generation, chat: ChatFormat) -> int | None:
    """Return the thinking budget in tokens, or None if thoughts are unlimited."""
    options = generation.prompt.template_options
    if options.get("enable_thinking") is False:
        return 0
    if generation.thinking_budget is not None or chat.knows_effort:
        return generation.thinking_budget
    return BUDGETS.get(str(options.get("reasoning_effort")))
