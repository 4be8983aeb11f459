"""Prompts without a chat template: plain text, token ids, fill-in-the-middle, Ollama's context.

Prefix and suffix of a gap are user text, in which control tokens are guarded
(control_tokens.py). A plain prompt belongs to the client, including its control tokens.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from localrun.engine.llama.vocabulary import InfillTokens, infill_tokens
from localrun.errors import UsageError
from localrun.runner.media.prompts import marked_prompt
from localrun.runner.prompts.control_tokens import mark, tokenize, tokenize_on
from localrun.runner.prompts.truncation import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.chat.budget import Allowance
    from localrun.engine.llama.model import Model
    from localrun.runner.messages import Generation
    from localrun.runner.prompts.templates import Templates


class RawPrompts:
    """Prompts without messages, for one model; any thread may call."""

    def __init__(self, model: Model, templates: Templates) -> None:
        self._model = model
        self._templates = templates

    def write(self, generation: Generation, allowance: Allowance) -> Prompt:
        """Return the prompt of a request without messages.

        Raises:
            UsageError: a token id is invalid, or the model cannot fill a gap.
        """
        text = generation.prompt.text
        if generation.suffix is not None:
            return self._with_gap(generation, text, generation.suffix, allowance)
        if generation.prompt.media:
            return marked_prompt(text, generation.prompt.media, self._model, allowance)
        if not generation.prompt_tokens:
            tokens = tokenize(text, self._model, allowance)
            return Prompt(text, tokens or self._start())
        check_tokens(generation.prompt_tokens, self._model, "prompt")
        pieces = map(self._model.spelled_piece, generation.prompt_tokens) if generation.echo else ()
        return Prompt(b"".join(pieces).decode(errors="replace"), list(generation.prompt_tokens))

    def _start(self) -> list[int]:
        """Return the tokens of an empty prompt: the BOS token.

        Raises:
            UsageError: the vocabulary has no BOS token.
        """
        bos = self._model.bos_token
        if bos is None:
            raise UsageError("the prompt is empty, and this model has no token that begins texts")
        return [bos]

    def write_after(self, context: tuple[int, ...], text: str, allowance: Allowance) -> Prompt:
        """Return the prompt of a text behind the tokens of an earlier conversation.

        Raises:
            UsageError: a token id of the conversation is invalid.
        """
        check_tokens(context, self._model, "context")
        bos = self._model.bos
        tokens = tokenize_on(text.removeprefix(bos) if bos else text, self._model, allowance)
        return Prompt(text, [*context, *tokens])

    def tokens_of(self, text: str, allowance: Allowance) -> tuple[int, ...]:
        """Return the tokens of user text inside a prompt, without a BOS token."""
        if not text:
            return ()
        marked = mark(text, self._templates.control_texts, allowance)
        return tuple(tokenize_on(marked, self._model, allowance))

    @cached_property
    def _infill(self) -> InfillTokens | None:
        return infill_tokens(self._model)

    def _with_gap(
        self, generation: Generation, prefix: str, suffix: str, allowance: Allowance
    ) -> Prompt:
        """Return a fill-in-the-middle prompt, by special tokens or else by the template."""
        control_texts = self._templates.control_texts
        before, behind = (mark(side, control_texts, allowance) for side in (prefix, suffix))
        if self._infill is not None:
            sides = [tokenize_on(side, self._model, allowance) for side in (before, behind)]
            start = self._model.tokenize("")
            return Prompt(prefix, [*start, *self._infill.around(*sides)])
        chat = self._templates.chat(generation.prompt.chat_template, allowance)
        if not chat.fills_gaps:
            raise UsageError(
                "this model does not support suffix: it has no fill-in-the-middle tokens",
                param="suffix",
                hint="use a model that lists insert under its capabilities (localrun show)",
            )
        text = chat.render_gap(before, behind, allowance)
        return Prompt(prefix, tokenize(text, self._model, allowance))


def check_tokens(tokens: Iterable[int], model: Model, param: str) -> None:
    """Check that all ids are in the vocabulary: llama.cpp does not check.

    Raises:
        UsageError: an id is outside the vocabulary.
    """
    invalid = next((token for token in tokens if not 0 <= token < model.num_vocab), None)
    if invalid is not None:
        raise UsageError(
            f"{param} has {invalid}, which is no token: they are 0 to {model.num_vocab - 1}",
            param=param,
        )
