"""How long an answer took, in the words of llama.cpp's server: the object ``timings``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.server.core.request import AnswerFinished
    from localrun.server.parsing.fields import JsonObject

THOUSAND = 1000


def timings(done: list[AnswerFinished]) -> JsonObject:
    """Return the figures of answers that were written side by side to one prompt."""
    finished = [answer.finished for answer in done]
    prompt = max((one.prompt_tokens - one.cached_tokens for one in finished), default=0)
    generated = sum(one.generated_tokens for one in finished)
    prompt_s = max((one.prompt_s for one in finished), default=0.0)
    generation_s = max((one.generation_s for one in finished), default=0.0)
    told = {
        "cache_n": min((one.cached_tokens for one in finished), default=0),
        **_rate("prompt", prompt, prompt_s),
        **_rate("predicted", generated, generation_s),
    }
    drafted = sum(one.drafted_tokens for one in finished)
    if drafted:
        told |= {
            "draft_n": drafted,
            "draft_n_accepted": sum(one.accepted_tokens for one in finished),
        }
    return told


def _rate(name: str, count: int, seconds: float) -> JsonObject:
    return {
        f"{name}_n": count,
        f"{name}_ms": round(seconds * THOUSAND, 3),
        f"{name}_per_token_ms": round(seconds * THOUSAND / count, 3) if count else 0.0,
        f"{name}_per_second": round(count / seconds, 3) if seconds else 0.0,
    }
