"""Change the logits of one sequence in place, before the samplers see them.

llama.cpp has samplers for this that walk the whole vocabulary for each token; only a
few dozen logits change, so numpy on the row itself is much cheaper (measured 0.4 ms a
token with 152k tokens against 0.02).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from localrun.engine.params import SamplingParams


def adjust(logits: np.ndarray, params: SamplingParams, tokens: list[int]) -> None:
    """Add the logit bias and take the penalties of the last tokens off.

    ``logits`` has shape (num_vocab,) and is changed; ``tokens`` are those of the prompt
    and the answer so far.
    """
    for token, bias in params.logit_bias:
        logits[token] += bias
    if not params.is_penalizing:
        return
    window = tokens if params.repeat_last_n < 0 else tokens[-params.repeat_last_n :]
    recent, counts = np.unique(np.asarray(window, dtype=np.int64), return_counts=True)
    chosen = logits[recent]
    repeat = params.repeat_penalty
    chosen = np.where(chosen > 0, chosen / repeat, chosen * repeat)
    chosen -= counts * params.frequency_penalty + params.presence_penalty
    logits[recent] = chosen
