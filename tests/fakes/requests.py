"""Requests for runners, and ends of answers, in few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.runner.messages import Finished, Generate, Generation, PromptSpec

if TYPE_CHECKING:
    from localrun.engine.params import FinishReason


def text_request(text: str) -> Generate:
    """Return the request to continue a text."""
    return Generate(request_id=0, generation=Generation(prompt=PromptSpec(text=text)))


def finished(
    *, prompt_tokens: int, cached_tokens: int, generated_tokens: int, reason: FinishReason
) -> Finished:
    """Return the end of a request that took no time."""
    return Finished(
        request_id=1,
        reason=reason,
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        generated_tokens=generated_tokens,
        queue_s=0,
        prompt_s=0,
        generation_s=0,
    )
