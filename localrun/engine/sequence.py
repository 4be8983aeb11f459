"""One request inside the engine: its tokens, how far they are computed, its text.

    tokens    [ prompt ........ | generated ... ]
    shared    [0, num_shared)              in cells of the prefix cache
    computed  [0, num_computed)            in the KV cache
    pending   [num_computed, len(tokens))  to be computed by later steps

All state changes happen in the engine's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from localrun.engine.params import FinishReason, SamplingParams
from localrun.engine.text import TextStream

if TYPE_CHECKING:
    import numpy as np

    from localrun.engine.constraints.thinking_budget import ThinkingTracker
    from localrun.engine.context_shift import ContextShift
    from localrun.engine.llama.lora_adapters import AdapterSet
    from localrun.engine.scores import Scores, TokenScore


class Constraint(Protocol):
    """What the next token of a sequence may be."""

    @property
    def failure(self) -> str | None:
        """Return why it cannot be held any more, None while it can."""

    def mask(self, logits: np.ndarray) -> None:
        """Write minus infinity to the logits, shape (num_vocab,), of forbidden tokens."""

    def accept(self, token: int) -> None:
        """Move on by a token that was drawn."""

    def forced(self) -> list[int]:
        """Return tokens that spell what must come next, as far as only one text can."""


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """A mutable record; the engine and its scheduler own it."""

    request_id: int
    tokens: list[int]
    max_tokens: int  # prompt and generated together, dropped or not: generation ends there
    sampling: SamplingParams = field(default_factory=SamplingParams)
    text: TextStream = field(default_factory=TextStream)
    constraint: Constraint | None = None
    submitted_at: float = 0.0  # seconds of a monotonic clock, as the two below
    admitted_at: float = 0.0
    first_token_at: float = 0.0
    slot: int | None = None  # llama.cpp's sequence id while it runs
    num_computed: int = 0
    num_shared: int = 0  # the first tokens, whose cells others may hold as well
    num_cached: int = 0  # tokens of the prompt that were computed before the request came
    num_prompt: int = 0
    finish: FinishReason | None = None
    num_drafted: int = 0  # tokens that were guessed and checked
    num_accepted: int = 0  # of these, the right ones
    scores: Scores | None = None  # how likely its tokens were, where somebody wants to know
    shift: ContextShift | None = None  # what to do at the end of the context; None: the answer ends
    num_dropped: int = 0  # tokens that shifts took out
    adapters: AdapterSet = ()  # what cells are computed with: only equal sets share them
    tells_tokens: bool = False  # its tokens are told at its end
    predicted: tuple[int, ...] = ()  # what its client expects it to generate, more or less
    num_predicted: int = 0  # of those that were guessed, the ones that its client expected
    num_predicted_right: int = 0
    thought: ThinkingTracker | None = None  # of a model that has such, to count them

    def __post_init__(self) -> None:
        self.num_prompt = len(self.tokens)

    @property
    def num_pending(self) -> int:
        """Return the number of tokens that are not computed yet."""
        return len(self.tokens) - self.num_computed

    @property
    def weighs_prompt(self) -> bool:
        """Return whether the logits of its prompt are wanted, and not all have been there."""
        return self.scores is not None and self.scores.is_weighing

    @property
    def most_shared(self) -> int:
        """Return how many tokens may be taken from a cache: what logits are wanted of may not."""
        if self.scores is not None and self.weighs_prompt:
            return max(0, self.scores.num_weighed - 1)
        return len(self.tokens) - 1

    @property
    def num_generated(self) -> int:
        """Return the number of generated tokens."""
        return self.num_dropped + len(self.tokens) - self.num_prompt

    @property
    def is_prompt_only(self) -> bool:
        """Return whether no token is to be generated."""
        return self.max_tokens <= self.num_prompt

    @property
    def is_at_limit(self) -> bool:
        """Return whether it has as many tokens as it may ever have."""
        return self.num_dropped + len(self.tokens) >= self.max_tokens

    @property
    def is_decoding(self) -> bool:
        """Return whether just the newest generated token is pending."""
        return self.num_generated > 0 and self.num_pending == 1

    def push(self, piece: bytes) -> str:
        """Take the bytes of a generated token and return the text that is certain now."""
        if self.thought is not None:
            self.thought.push(piece)
        if self.scores is None:
            return self.text.push(piece)
        return self.scores.push(self.text, piece)

    def release_scores(self) -> tuple[TokenScore, ...]:
        """Return the scores of the text that came since the last time."""
        return self.scores.release(self.text) if self.scores else ()
