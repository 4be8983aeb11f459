"""Jobs of the measuring child processes, which travel as JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixJob:
    """An importance matrix of a model on a text.

    ``partial`` keeps the sums of the chunks that are done. A partial file of the same ``identity``
    is continued, any other one is replaced.
    """

    shards: list[str]
    text: str
    partial: str
    dataset: str  # name of the text, which llama.cpp notes in the file
    identity: str  # of model, text and chunks
    chunk_size: int
    most_chunks: int | None
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityJob:
    """Perplexity of a model on a text, and its divergence from a base.

    ``base`` is the file of the base's log-probabilities: written if ``writes_base``, else read.
    """

    shards: list[str]
    text: str
    base: str
    writes_base: bool
    most_base_bytes: int  # of a file that is written
    chunk_size: int
    most_chunks: int | None
    threads: int
