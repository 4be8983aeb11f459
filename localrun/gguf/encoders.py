"""Which models turn a text into numbers and write none.

By what they are, or by their file, which says how their vectors are to be pooled.
"""

from __future__ import annotations

ENCODERS = {
    "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2",
    "jina-bert-v3", "eurobert", "gemma-embedding", "llama-embed", "t5encoder",
}  # fmt: skip


def only_embeds(architecture: str, pooling: object) -> bool:
    """Return whether a model embeds; ``pooling`` is ``<architecture>.pooling_type`` of its file."""
    return architecture in ENCODERS or (isinstance(pooling, int) and pooling > 0)
