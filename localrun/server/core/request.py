"""The one request that all APIs translate to, and what its answer consists of: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import Part

if TYPE_CHECKING:
    from localrun.engine.params import ConstraintSpec, FinishReason, OverflowPolicy
    from localrun.runner.messages import JsonObject, Score
    from localrun.supervisor.model import KeepAlive


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """What any client can ask for."""

    model: str
    messages: tuple[JsonObject, ...] | None = None
    prompt: str | None = None  # used as it is, when there are no messages
    tools: tuple[JsonObject, ...] = ()
    template_options: JsonObject = field(default_factory=dict)
    sampling: JsonObject = field(default_factory=dict)  # the fields of SamplingParams it gives
    num_predict: int | None = None  # tokens at most; negative = until the context is full
    default_num_predict: int | None = None  # in place of None if the recipe has none either
    num_ctx: int | None = None
    stop: tuple[str, ...] | None = None
    constraint: ConstraintSpec | None = None
    keep_alive: KeepAlive | None = None
    overflow: OverflowPolicy | None = None
    default_overflow: OverflowPolicy | None = None  # if the recipe has none either
    num_keep: int | None = None  # in place of the policy's
    logprobs: int | None = (
        None  # yield `TokenScores`, with so many likely tokens for each; None = no
    )
    echo: bool = False  # tell the prompt in `AnswerStarted`
    choice: int = 0  # which of several answers: each has a seed of its own
    tool_choice: str = "auto"  # "none", "required", or the name of the tool to call
    parallel_tool_calls: bool = True  # False = at most one call
    thinking_budget: int | None = None  # tokens that a thought may have
    keeps_thoughts: bool = False  # in the text of the answer, with their tags
    prompt_tokens: tuple[int, ...] = ()  # in place of the prompt, as they are
    suffix: str | None = None  # what follows the prompt behind a gap, which is to be filled
    context: tuple[int, ...] = ()  # tokens of an earlier conversation, which the messages go on
    tells_tokens: bool = False  # tell the tokens of prompt and answer in `AnswerFinished`
    prediction: str | None = None  # what the answer may be like: guesses are taken from it
    chat_template: str | None = None  # in place of the model's, in Jinja or Go's language
    add_generation_prompt: bool = True
    continue_final_message: bool = False  # generate the rest of the last message

    # None everywhere: as the model's recipe says, or else the server


@dataclass(frozen=True, slots=True)
class AnswerStarted:
    """The model is loaded and the prompt fits; nothing is generated yet."""

    prompt: str | None = None  # where it was asked for
    dropped_messages: int = 0  # left out of the prompt to make it fit
    dropped_tokens: int = 0
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenScores:
    """How likely the tokens of the text were whose parts come next, or soon."""

    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFinished:
    """The end of an answer, with what it took."""

    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    load_s: float  # of the model; of finding the loaded one if it was loaded already
    prompt_s: float
    generation_s: float
    total_s: float
    dropped_messages: int = 0  # left out of the prompt to make it fit
    dropped_tokens: int = 0  # of the prompt, and of the context while it was generated
    stop: str | None = None  # the stop string that ended it
    drafted_tokens: int = 0  # guessed ahead and checked
    accepted_tokens: int = 0  # of these, the right ones
    tokens: tuple[int, ...] = ()  # of prompt and answer, where they were asked for
    thought_tokens: int = 0  # of the generated ones
    queue_s: float = 0.0  # waited for a slot
    predicted_right: int | None = None  # tokens of a prediction; None where there was none
    predicted_wrong: int | None = None


Reply = AnswerStarted | TokenScores | Part | AnswerFinished
