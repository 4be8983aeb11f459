"""Sequence: one request inside the engine, with its tokens, their progress and its text.

    tokens    [ prompt ........ | generated ... ]
    shared    [0, num_shared)              in cells of the prefix cache
    computed  [0, num_computed)            in the KV cache
    pending   [num_computed, len(tokens))  to be computed by later steps

Images and sounds stand among the tokens as runs of negative ids (`localrun.engine.media`).
Only the engine's thread changes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from localrun.engine.params import FinishReason, SamplingParams
from localrun.engine.text import TextStream

if TYPE_CHECKING:
    import numpy as np

    from localrun.engine.context_shift import ContextShift
    from localrun.engine.llama.lora_adapters import AdapterSet
    from localrun.engine.media.placement import SequenceMedia
    from localrun.engine.pacing.reader import AnswerReader
    from localrun.engine.scores import Scores, TokenScore


class Constraint(Protocol):
    """Restriction of the next token of a sequence, such as a grammar."""

    @property
    def failure(self) -> str | None:
        """Return why the constraint can no longer be met, or None."""

    def mask(self, logits: np.ndarray) -> None:
        """Set the logits of forbidden tokens, shape (num_vocab,), to minus infinity in place."""

    def accept(self, token: int) -> None:
        """Advance by a sampled token."""

    def forced(self) -> list[int]:
        """Return tokens that spell the text that must come next, if only one text can."""


class ThinkingCounter(Protocol):
    """Counter of the tokens that the model spends on thinking."""

    num_tokens: int

    def push(self, piece: bytes) -> None:
        """Count the next token, given its bytes."""


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """Mutable state of one request, owned by the engine and its scheduler."""

    request_id: int
    tokens: list[int]
    max_tokens: int  # prompt and generated together, dropped ones included
    sampling: SamplingParams = field(default_factory=SamplingParams)
    text: TextStream = field(default_factory=TextStream)
    constraint: Constraint | None = None
    submitted_at: float = 0.0  # seconds of a monotonic clock, as the two below; 0 = not yet
    admitted_at: float = 0.0
    first_token_at: float = 0.0
    slot: int | None = None  # llama.cpp's sequence id while it runs
    num_computed: int = 0
    num_shared: int = 0  # first tokens whose cells other sequences may hold as well
    num_cached: int = 0  # prompt tokens that were in the cache at admission
    num_prompt: int = field(init=False)
    finish: FinishReason | None = None
    num_drafted: int = 0  # draft tokens that were verified
    num_accepted: int = 0  # of these, accepted
    drafts_by_source: dict[str, tuple[int, int]] = field(default_factory=dict)  # verified, accepted
    scores: Scores | None = None  # log-probabilities, if the request wants them
    shift: ContextShift | None = None  # None: generation ends when the context is full
    num_dropped: int = 0  # tokens dropped by context shifts
    adapters: AdapterSet = ()  # cells are shared between equal sets only
    returns_tokens: bool = False  # the final event has all token ids
    model_name: str = ""  # drafts come from earlier answers of the same one
    uses_draft_model: bool = True  # if there is one; other draft sources do not depend on it
    predicted: tuple[int, ...] = ()  # the client's prediction of the output (OpenAI)
    thinking: ThinkingCounter | None = None  # None: the model has no thinking tags
    reader: AnswerReader | None = None  # None: the answer is not streamed, so only its end counts
    is_background: bool = False  # gives way to sequences that are not
    num_passed: int = 0  # prompt tokens of later sequences that were computed before this prompt
    media: SequenceMedia | None = None  # images and sounds among the tokens
    num_skipped: int = field(init=False)  # positions fewer than tokens, behind all media

    def __post_init__(self) -> None:
        self.num_prompt = len(self.tokens)
        self.num_skipped = self.media.num_skipped if self.media else 0

    @property
    def num_pending(self) -> int:
        """Return the number of tokens that are not computed yet."""
        return len(self.tokens) - self.num_computed

    @property
    def wants_prompt_logprobs(self) -> bool:
        """Return whether log-probabilities of prompt tokens are wanted and still missing."""
        return self.scores is not None and self.scores.needs_prompt

    @property
    def num_cacheable(self) -> int:
        """Return how many first tokens may come from the cache; the logits of others are needed."""
        if self.scores is not None and self.wants_prompt_logprobs:
            return max(0, self.scores.num_prompt_scored - 1)
        return len(self.tokens) - 1

    @property
    def num_generated(self) -> int:
        """Return the number of generated tokens."""
        return self.num_dropped + len(self.tokens) - self.num_prompt

    @property
    def num_left(self) -> int:
        """Return how many more tokens may be generated."""
        return self.max_tokens - self.num_dropped - len(self.tokens)

    @property
    def is_prompt_only(self) -> bool:
        """Return whether no token is to be generated."""
        return self.max_tokens <= self.num_prompt

    @property
    def is_at_limit(self) -> bool:
        """Return whether the sequence has ``max_tokens`` tokens."""
        return self.num_dropped + len(self.tokens) >= self.max_tokens

    @property
    def is_decoding(self) -> bool:
        """Return whether only the newest generated token is pending."""
        num_tokens = len(self.tokens)  # without other properties: asked several times a step
        return (
            num_tokens - self.num_computed == 1 and self.num_dropped + num_tokens > self.num_prompt
        )

    @property
    def has_media(self) -> bool:
        """Return whether images or sounds stand among the tokens; a shift may have dropped all."""
        return self.media is not None and bool(self.media.chunks)

    @property
    def is_at_medium(self) -> bool:
        """Return whether the next token to be computed belongs to a medium."""
        return (
            self.media is not None and self.num_pending > 0 and self.tokens[self.num_computed] < 0
        )

    @property
    def awaits_encode(self) -> bool:
        """Return whether the next token belongs to a medium that is not encoded, or not wholly."""
        if self.media is None:
            return False
        return any(one.chunk.embeddings is None for one in self.media.run_at(self.num_computed))

    def position_at(self, index: int) -> int:
        """Return the position in llama.cpp's memory of the token at an index."""
        return index if self.media is None else self.media.position_at(index)

    def push(self, piece: bytes) -> str:
        """Add the bytes of a generated token; return the text that they complete."""
        if self.thinking is not None:
            self.thinking.push(piece)
        if self.scores is None:
            return self.text.push(piece)
        return self.scores.push(self.text, piece)

    def count_drafts(self, source: str, num_drafted: int, num_accepted: int) -> None:
        """Count draft tokens of a source that were verified."""
        drafted, accepted = self.drafts_by_source.get(source, (0, 0))
        self.drafts_by_source[source] = drafted + num_drafted, accepted + num_accepted

    def shift_context(self, shift: ContextShift) -> None:
        """Drop old tokens; the sequence must not run."""
        dropped = shift.apply(self.tokens)
        self.num_dropped += len(dropped)
        if self.media is not None:
            self.media = self.media.without(dropped.start, dropped.stop)
            self.num_skipped = self.media.num_skipped

    def release_scores(self) -> tuple[TokenScore, ...]:
        """Return the scores of the text that was released since the last call."""
        return self.scores.release(self.text) if self.scores else ()


def slot_of(seq: Sequence) -> int:
    """Return the slot of a running sequence.

    Raises:
        ValueError: the sequence does not run.
    """
    if seq.slot is None:
        raise ValueError(f"request {seq.request_id} does not run")
    return seq.slot
