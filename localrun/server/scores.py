"""How likely tokens were, in the words that OpenAI and Ollama share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.runner.messages import Score
    from localrun.server.parsing.fields import JsonObject


def openai_score(score: Score) -> JsonObject:
    """Return the object of one token with the likeliest in its place."""
    piece, logprob, top = score
    return {**_token(piece, logprob), "top_logprobs": [_token(*other) for other in top]}


def ollama_score(score: Score) -> JsonObject:
    """Return the same without an empty list."""
    worded = openai_score(score)
    return worded if worded["top_logprobs"] else _token(*score[:2])


def _token(piece: bytes, logprob: float | None) -> JsonObject:
    """Return one token; text that is no whole character is in its bytes alone."""
    return {"token": piece.decode(errors="replace"), "logprob": logprob, "bytes": list(piece)}
