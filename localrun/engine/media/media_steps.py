"""Media steps: which embeddings of media the next forward pass computes.

llama.cpp takes tokens or embeddings in one call, never both, so a step computes parts of media or
tokens. Parts of several sequences share a step, and the tiles of an image are one part with the
text between and behind them if the model allows it (`TextRows`). A chunk that is not causal has a
step of its own, and is computed whole, whatever the budget: its tokens see each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.engine.sequence import Sequence


def media_parts(prompts: Iterable[Sequence], num_tokens: int) -> dict[Sequence, int]:
    """Return how many tokens of its medium each prompt computes, at most ``num_tokens`` together.

    Prompts that do not stand at an encoded medium have none.
    """
    parts: dict[Sequence, int] = {}
    for seq in prompts:
        run = seq.media.run_at(seq.num_computed) if seq.media else ()
        if not seq.media or not run or any(placed.chunk.embeddings is None for placed in run):
            continue
        num_pending = seq.media.run_end(run, len(seq.tokens)) - seq.num_computed
        if not run[0].chunk.shape.is_causal:
            if parts:
                continue
            return {seq: num_pending}
        if num_tokens > 0:
            parts[seq] = min(num_pending, num_tokens)
            num_tokens -= parts[seq]
    return parts


def num_text_tokens(seq: Sequence, end: int) -> int:
    """Return how many pending tokens before ``end`` are text before the next medium."""
    num_tokens = end - seq.num_computed
    if seq.media is None:
        return num_tokens
    num_text = seq.media.num_text_from(seq.num_computed)
    return num_tokens if num_text is None else min(num_tokens, num_text)
