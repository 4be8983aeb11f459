"""Order of prompts: fewest pending tokens first, so that short prompts pass long ones.

Bound: a prompt that was passed by as many tokens as it has pending is passed no more. So a long
prompt takes at most twice the time that it takes if nobody passes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Sequence as Sequences

    from localrun.engine.sequence import Sequence


def in_order(prompts: Iterable[Sequence]) -> list[Sequence]:
    """Return sequences with a prompt to compute, the next one first."""
    return sorted(prompts, key=_rank)


def record_passing(running: Iterable[Sequence], seq: Sequence, num_tokens: int) -> None:
    """Record that tokens of a prompt were computed, which passes those submitted earlier."""
    for other in running:
        if other.num_pending and not other.is_decoding and other.submitted_at < seq.submitted_at:
            other.num_passed += num_tokens


def are_one_batch(decoding: Sequences[Sequence], prompts: Sequences[Sequence]) -> bool:
    """Return whether prompts came before the first token of any that decodes, and nobody reads.

    These are few enough to be computed at once; later ones could hold the others for ever.
    """
    if any(seq.reader is not None for seq in decoding):
        return False
    first_token_at = min(seq.first_token_at for seq in decoding)
    return all(seq.submitted_at <= first_token_at for seq in prompts)


def _rank(seq: Sequence) -> tuple[int, float, float]:
    if seq.num_passed >= seq.num_pending:
        return (0, seq.submitted_at, 0)
    return (1, seq.num_pending, seq.submitted_at)
