"""Preparation of `Generate` requests: prompt, tokens, constraint, sequence.

Uses only the vocabulary, templates and grammars, so it never waits for the engine. Grammars are
compiled here, in the thread that prepares requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from localrun.chat.continuation import can_continue, open_tag
from localrun.chat.media_marks import media_of
from localrun.engine.context_shift import CONTEXTS, ContextShift
from localrun.engine.media.placement import SequenceMedia
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.scores import Scores
from localrun.engine.sequence import Sequence
from localrun.engine.text import TextStream
from localrun.errors import ContextExceededError, UsageError
from localrun.prefixes import common_prefix_length
from localrun.runner.media.prompts import written_prompt
from localrun.runner.messages import Started
from localrun.runner.prompts.control_tokens import MARK
from localrun.runner.prompts.raw_prompts import RawPrompts, check_tokens
from localrun.runner.prompts.truncation import Prompt, fitted, num_kept
from localrun.runner.reply_constraints import ReplyConstraints

if TYPE_CHECKING:
    from localrun.chat.budget import Allowance
    from localrun.chat.profiles.profile import Profile
    from localrun.engine.llama.model import Model
    from localrun.runner.adapters import AdapterResolver
    from localrun.runner.messages import Generate, Generation, PromptSpec
    from localrun.runner.prompts.templates import Templates
    from localrun.runner.prompts.truncation import Messages

PROMPT_TAIL = 64
HINT = (
    "shorten the prompt, ask for a larger context (--ctx), or let the oldest messages go"
    " (PARAMETER overflow drop)"
)


@dataclass(frozen=True, slots=True)
class PreparedGeneration:
    """A sequence to generate, and the event that reports its prompt."""

    seq: Sequence
    started: Started


class GenerationPreparer:
    """Prepares requests for one model; a reader takes ``reading_s`` for a token."""

    def __init__(
        self,
        model: Model,
        templates: Templates,
        adapters: AdapterResolver,
        num_ctx: int,
        reading_s: float,
        *,
        joins_tiles: bool = False,
    ) -> None:
        """``joins_tiles``: the context computes text between tiles of an image with them."""
        self._joins_tiles = joins_tiles
        self._model = model
        self._templates = templates
        self._adapters = adapters
        self._num_ctx = num_ctx
        self._reading_s = reading_s
        self._plain = RawPrompts(model, templates)
        self._constraining = ReplyConstraints(model)

    def open(self, request: Generate, allowance: Allowance) -> PreparedGeneration:
        """Return the sequence of a request.

        Raises:
            UsageError: the request is invalid, too long or too costly.
        """
        generation = request.generation
        chat = self._templates.chat(generation.prompt.chat_template, allowance)
        prompt = self._prompt(request, allowance)
        seq = self._sequence(request, prompt, allowance)
        ending = prompt_ending(generation.prompt, prompt.text, chat.profile)
        self._constraining.bind(seq, generation, ending, chat, allowance)
        started = Started(
            request_id=request.request_id,
            prompt_tokens=seq.num_prompt,
            prompt_tail=ending,
            profile=chat.profile_json,
            prompt=prompt.text.replace(MARK, "") if generation.echo else None,
            dropped_messages=prompt.dropped_messages,
            dropped_tokens=prompt.dropped_tokens,
        )
        return PreparedGeneration(seq, started)

    def _prompt(self, request: Generate, allowance: Allowance) -> Prompt:
        """Return the prompt, without its oldest messages if it is too long and may drop them."""
        if self._model.only_embeds:
            raise UsageError("this is an embedding model: it turns text into numbers")
        generation = request.generation
        spec = spec_of(generation)
        if spec.messages is None:
            self._check_length(spec.text)
            return self._plain.write(generation, allowance)
        if generation.context:
            if media_of(spec.messages):
                raise UsageError("context cannot be combined with images", param="context")
            text = self._templates.render(spec, allowance)
            return self._plain.write_after(generation.context, text, allowance)
        if not request.overflow.drops:
            return self._written(request, allowance, spec.messages)
        return fitted(
            spec.messages,
            partial(self._written, request, allowance),
            num_ctx=self._num_ctx,
            num_predict=request.num_predict,
        )

    def _written(self, request: Generate, allowance: Allowance, messages: Messages) -> Prompt:
        spec = replace(spec_of(request.generation), messages=tuple(messages))
        text = self._templates.render(spec, allowance)
        if not request.overflow.drops:
            self._check_length(text)
        return written_prompt(text, messages, self._model, allowance)

    def _check_length(self, text: str) -> None:
        """Refuse a text that is too long for any tokenization, before it is tokenized."""
        num_chars = len(text) - text.count(MARK)
        if self._model.exceeds(num_chars, self._num_ctx):
            raise ContextExceededError(
                f"the prompt has {num_chars} characters, which exceeds the context length of"
                f" {self._num_ctx} tokens",
                hint=HINT,
            )

    def _sequence(self, request: Generate, prompt: Prompt, allowance: Allowance) -> Sequence:
        tokens = prompt.tokens
        if not tokens:
            raise UsageError("the prompt is empty")
        if len(tokens) >= self._num_ctx:
            raise ContextExceededError(
                f"the prompt has {len(tokens)} tokens, which exceeds the context length of"
                f" {self._num_ctx}",
                hint=HINT,
            )
        shift = self._shift(request, tokens, allowance)
        num_free = (CONTEXTS if shift else 1) * self._num_ctx - len(tokens)
        new = num_free if request.num_predict is None else request.num_predict
        sampling = request.sampling
        check_tokens((token for token, _ in sampling.logit_bias), self._model, "logit_bias")
        if request.generation.constraint is not None:  # a complete answer only ends
            sampling = replace(sampling, min_tokens=0)
        elif sampling.ignore_eos:
            sampling = sampling.without_ends(self._model.eog)
        return Sequence(
            request_id=request.request_id,
            tokens=tokens,
            max_tokens=len(tokens) + (new if shift else min(new, num_free)),
            sampling=sampling,
            text=TextStream(request.stop),
            scores=self._scores(request.generation, len(tokens)),
            shift=shift,
            adapters=self._adapters.checked(request.adapters),
            returns_tokens=request.generation.returns_tokens,
            reader=AnswerReader(self._reading_s) if request.generation.is_streamed else None,
            is_background=request.is_background,
            model_name=request.model_name,
            uses_draft_model=request.uses_draft_model,
            media=self._media(request, prompt),
            predicted=self._plain.tokens_of(request.generation.prediction or "", allowance),
        )

    def _media(self, request: Generate, prompt: Prompt) -> SequenceMedia | None:
        """Return the media of a prompt: an adapter may change rows, an echo scores each token."""
        if not prompt.media:
            return None
        joins = self._joins_tiles and not request.adapters and not request.generation.echo
        return SequenceMedia(prompt.media, joins_tiles=joins)

    def _scores(self, generation: Generation, num_prompt: int) -> Scores | None:
        """Return the recorder of log probabilities, with an echo also those of the prompt."""
        if generation.logprobs is None or not generation.echo:
            return None if generation.logprobs is None else Scores(generation.logprobs)
        adds_start = not generation.prompt.text or bool(self._model.tokenize(""))
        has_start = not generation.prompt_tokens and adds_start
        return Scores(generation.logprobs, num_prompt, has_start=has_start)

    def _shift(
        self, request: Generate, tokens: list[int], allowance: Allowance
    ) -> ContextShift | None:
        policy, num_keep = request.overflow, request.overflow.num_keep
        if not policy.shifts:
            return None
        if num_keep is not None:
            num_keep = len(tokens) if num_keep < 0 else num_keep
        elif (messages := request.generation.prompt.messages) is None:
            num_keep = common_prefix_length(tokens, self._model.tokenize(""))
        else:
            write = partial(self._written, request, allowance)
            num_keep = num_kept(messages, tokens, write)
        return ContextShift.keeping(num_keep, self._num_ctx)


def spec_of(generation: Generation) -> PromptSpec:
    """Return the prompt with the thinking budget among the options of its template."""
    spec = generation.prompt
    if generation.thinking_budget is None:
        return spec
    options = {"thinking_budget": generation.thinking_budget, **spec.template_options}
    return replace(spec, template_options=options)


def prompt_ending(spec: PromptSpec, prompt: str, profile: Profile) -> str:
    """Return the end of a prompt, from which parsers of the reply find open regions.

    A continued message may end anywhere, so the end is stated by the tag of its region.
    """
    messages = spec.messages or ()
    if spec.continue_final_message and can_continue(messages):
        return open_tag(messages[-1], profile)
    return prompt[-PROMPT_TAIL:]
