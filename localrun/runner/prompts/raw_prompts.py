"""Prompts that no chat template writes: a text, tokens, a gap to fill; and old conversations.

What stands around a gap is a user's text: it spells no control tokens (prompt.py). A
plain prompt is the client's own, control tokens and all.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from localrun.engine.llama.infill import InfillTokens, gap_tokens
from localrun.errors import UsageError
from localrun.runner.prompts.control_tokens import mark, tokenize, tokenize_on
from localrun.runner.prompts.truncation import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.chat.budget import Allowance
    from localrun.engine.llama.model import Model
    from localrun.runner.messages import Generation
    from localrun.runner.prompts.templates import Templates


class RawPrompts:
    """Writes them for one model."""

    def __init__(self, model: Model, templates: Templates) -> None:
        self._model = model
        self._templates = templates

    def write(self, generation: Generation, allowance: Allowance) -> Prompt:
        """Return the prompt of a request without messages.

        Raises:
            UsageError: it holds what is no token, or a gap that the model cannot fill.
        """
        text = generation.prompt.text
        if generation.suffix is not None:
            return self._with_gap(generation, text, generation.suffix, allowance)
        if not generation.prompt_tokens:
            tokens = tokenize(text, self._model, allowance)
            return Prompt(text, tokens or self._start())
        check_tokens(generation.prompt_tokens, self._model, "prompt")
        pieces = map(self._model.spelled_piece, generation.prompt_tokens) if generation.echo else ()
        return Prompt(b"".join(pieces).decode(errors="replace"), list(generation.prompt_tokens))

    def _start(self) -> list[int]:
        """Return what an empty prompt consists of: the token that begins texts.

        Raises:
            UsageError: the vocabulary has none.
        """
        bos = self._model.bos_token
        if bos is None:
            raise UsageError("the prompt is empty, and this model has no token that begins texts")
        return [bos]

    def write_after(self, context: tuple[int, ...], text: str, allowance: Allowance) -> Prompt:
        """Return a prompt whose beginning is there as tokens.

        Raises:
            UsageError: the beginning holds what is no token.
        """
        check_tokens(context, self._model, "context")
        bos = self._model.bos
        rest = tokenize_on(text.removeprefix(bos) if bos else text, self._model, allowance)
        return Prompt(text, [*context, *rest])

    def tokens_of(self, text: str, allowance: Allowance) -> tuple[int, ...]:
        """Return the tokens of a user's text that does not stand at a beginning."""
        if not text:
            return ()
        marked = mark(text, self._templates.control_texts, allowance)
        return tuple(tokenize_on(marked, self._model, allowance))

    @cached_property
    def _gap(self) -> InfillTokens | None:
        return gap_tokens(self._model)

    def _with_gap(
        self, generation: Generation, prefix: str, suffix: str, allowance: Allowance
    ) -> Prompt:
        """Ask for what stands between two texts, by the vocabulary or else by the template."""
        controls = self._templates.control_texts
        before, behind = (mark(side, controls, allowance) for side in (prefix, suffix))
        if self._gap is not None:
            sides = [tokenize_on(side, self._model, allowance) for side in (before, behind)]
            start = self._model.tokenize("")
            return Prompt(prefix, [*start, *self._gap.around(*sides)])
        chat = self._templates.chat(generation.prompt.chat_template, allowance)
        if not chat.fills_gaps:
            raise UsageError(
                "suffix is not supported by this model: it has no tokens that mark a gap",
                param="suffix",
                hint="take a model that lists insert under its capabilities (localrun show)",
            )
        text = chat.render_gap(before, behind, allowance)
        return Prompt(prefix, tokenize(text, self._model, allowance))


def check_tokens(tokens: Iterable[int], model: Model, param: str) -> None:
    """Check that a client's numbers are tokens: llama.cpp does not.

    Raises:
        UsageError: one is none.
    """
    wrong = next((one for one in tokens if not 0 <= one < model.num_vocab), None)
    if wrong is not None:
        raise UsageError(
            f"{param} has {wrong}, which is no token: they are 0 to {model.num_vocab - 1}",
            param=param,
        )
