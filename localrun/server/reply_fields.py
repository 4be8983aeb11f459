"""Answer fields that several APIs share: token counts, timings, log probabilities, call ids.

Functions take the ends of all answers to one prompt, which are generated side by side. The prompt
counts once; the answers that follow the first find it in the prefix cache.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.runner.messages import JsonObject, Score
    from localrun.server.core.request import AnswerFinished

MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts of the answers to one prompt."""

    prompt_tokens: int = 0
    cached_tokens: int = 0  # of the prompt, for the answer that computed it
    generated_tokens: int = 0
    reasoning_tokens: int = 0  # among the generated tokens

    @classmethod
    def of(cls, answers: Sequence[AnswerFinished]) -> Self:
        """Return the counts of the answers to one prompt, 0 if there are none."""
        ends = [answer.finished for answer in answers]
        return cls(
            prompt_tokens=max((end.prompt_tokens for end in ends), default=0),
            cached_tokens=min((end.cached_tokens for end in ends), default=0),
            generated_tokens=sum(end.generated_tokens for end in ends),
            reasoning_tokens=sum(end.thought_tokens for end in ends),
        )

    @property
    def total_tokens(self) -> int:
        """Return the tokens of prompt and answers."""
        return self.prompt_tokens + self.generated_tokens


def timings(answers: Sequence[AnswerFinished]) -> JsonObject:
    """Return the object ``timings`` of llama.cpp's server."""
    ends = [answer.finished for answer in answers]
    num_computed = max((end.prompt_tokens - end.cached_tokens for end in ends), default=0)
    usage = Usage.of(answers)
    body = {
        "cache_n": usage.cached_tokens,
        **_rate("prompt", num_computed, max((end.prompt_s for end in ends), default=0.0)),
        **_rate(
            "predicted",
            usage.generated_tokens,
            max((end.generation_s for end in ends), default=0.0),
        ),
    }
    num_drafted = sum(end.drafted_tokens for end in ends)
    if num_drafted:
        body["draft_n"] = num_drafted
        body["draft_n_accepted"] = sum(end.accepted_tokens for end in ends)
    return body


def _rate(name: str, count: int, seconds: float) -> JsonObject:
    return {
        f"{name}_n": count,
        f"{name}_ms": round(seconds * MS, 3),
        f"{name}_per_token_ms": round(seconds * MS / count, 3) if count else 0.0,
        f"{name}_per_second": round(count / seconds, 3) if seconds else 0.0,
    }


def extension(answers: Sequence[AnswerFinished]) -> JsonObject:
    """Return the field ``localrun``: what was dropped for lack of context; {} if nothing was."""
    messages = max((answer.started.dropped_messages for answer in answers), default=0)
    tokens = max((answer.dropped_tokens for answer in answers), default=0)
    if not (messages or tokens):
        return {}
    return {"localrun": {"dropped_messages": messages, "dropped_tokens": tokens}}


def token_logprob(score: Score) -> JsonObject:
    """Return the log probability of one token, with the most likely tokens at its position."""
    piece, logprob, top = score
    return {
        **plain_logprob(piece, logprob),
        "top_logprobs": [plain_logprob(*candidate) for candidate in top],
    }


def plain_logprob(piece: bytes, logprob: float | None) -> JsonObject:
    """Return the log probability of one token.

    ``bytes`` has all bytes of a token; ``token`` replaces those that are no whole character.
    """
    return {"token": piece.decode(errors="replace"), "logprob": logprob, "bytes": list(piece)}


def new_call_id() -> str:
    """Return the id of a tool call, by which its result refers to it."""
    return f"call_{secrets.token_hex(12)}"
