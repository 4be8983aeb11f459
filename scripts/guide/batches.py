"""Token ids of the corpus in batches of about equal size, deterministic by seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from guide import pictures
from guide.text import is_reply, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tokenizers import Tokenizer
    from torch import Tensor

    from guide.sample import Sample

THINK = "<think>"  # begins a reply if the template says so, never by the model's own choice
PROMPT_WEIGHT = 0.1  # of a token that the user or the system says, next to 1 for the reply
MAX_TOKENS = 768  # a longer conversation is left out


@dataclass(frozen=True, slots=True)
class Row:
    """One tokenized conversation; both arrays have shape (num_tokens,)."""

    ids: np.ndarray
    weights: np.ndarray


def tokenize(samples: Iterable[Sample], tokenizer: Tokenizer) -> list[Row]:
    """Return the rows of all samples that are short enough."""
    rows = []
    for sample in samples:
        text = render(sample, with_reply=True)
        ids = np.array(pictures.encode(tokenizer, text), dtype=np.int64)
        if len(ids) <= MAX_TOKENS:
            reply = is_reply(tokenizer, ids)
            weights = np.where(reply, 1.0, PROMPT_WEIGHT).astype(np.float32)
            weights[ids == tokenizer.token_to_id(THINK)] = 0.0
            rows.append(Row(ids, weights))
    return rows


def batches(rows: list[Row], tokens: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (ids, weights) of shape (batch, num_tokens), at most ``tokens`` elements each.

    Rows of like length share a batch; the padding has weight 0.
    """
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))
    groups: list[list[int]] = [[]]
    for index in order:
        if (len(groups[-1]) + 1) * len(rows[index].ids) > tokens:
            groups.append([])
        groups[-1].append(index)
    random.Random(seed).shuffle(groups)
    for group in groups:
        yield _pad([rows[index] for index in group])


def _pad(rows: list[Row]) -> tuple[Tensor, Tensor]:
    longest = max(len(row.ids) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    weights = np.zeros((len(rows), longest), dtype=np.float32)
    for line, row in enumerate(rows):
        ids[line, : len(row.ids)] = row.ids
        weights[line, : len(row.ids)] = row.weights
    return torch.from_numpy(ids), torch.from_numpy(weights)
