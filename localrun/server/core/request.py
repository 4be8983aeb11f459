"""The one request that all APIs translate to, and what its answer consists of: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import Part
from localrun.runner.messages import Generation

if TYPE_CHECKING:
    from localrun.engine.params import OverflowPolicy
    from localrun.runner.messages import Finished, JsonObject, Score
    from localrun.supervisor.model import KeepAlive


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A request for an answer: None means the default of the model's recipe, or of the server."""

    model: str
    generation: Generation = field(default_factory=Generation)
    sampling: JsonObject = field(default_factory=dict)  # the fields of SamplingParams it sets
    num_predict: int | None = None  # most tokens; negative = until the context is full
    default_num_predict: int | None = None  # in place of None if the recipe sets none either
    num_ctx: int | None = None
    draft: str | None = None  # draft model: a name, "auto" or "none"
    stop: tuple[str, ...] | None = None
    keep_alive: KeepAlive | None = None
    overflow: OverflowPolicy | None = None
    default_overflow: OverflowPolicy | None = None  # if the recipe sets none either
    num_keep: int | None = None  # in place of the policy's
    num_answers: int = 1  # to the same request, this one included
    choice: int = 0  # index among the answers to one request: each has its own seed
    keeps_thoughts: bool = False  # in the text of the answer, with their tags


@dataclass(frozen=True, slots=True)
class AnswerStarted:
    """The model is loaded and the prompt fits; no token is generated yet."""

    prompt: str | None = None  # if the request has `Generation.echo`
    dropped_messages: int = 0  # left out of the prompt to make it fit
    dropped_tokens: int = 0
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenScores:
    """The log probabilities of the next tokens; their text comes in this part or a later one."""

    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFinished:
    """The end of an answer: the runner's figures, and the server's."""

    finished: Finished
    started: AnswerStarted
    load_s: float  # of the model; of finding the loaded one if it was loaded already
    total_s: float

    @property
    def dropped_tokens(self) -> int:
        """Return the tokens left out of the prompt, and of the context during generation."""
        return self.started.dropped_tokens + self.finished.dropped_tokens


Reply = AnswerStarted | TokenScores | Part | AnswerFinished
