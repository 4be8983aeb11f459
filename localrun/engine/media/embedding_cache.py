"""Embedding cache: the embeddings of encoded chunks, by their keys, within a number of bytes.

The one that was used longest ago is evicted first. A sequence holds the embeddings of its chunks
itself, so that eviction never costs a running request anything. Any thread may call.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from localrun.engine.media.chunk import ChunkKey

BUDGET_BYTES = 256 * 2**20


class EmbeddingCache:
    """Embeddings by chunk; one that is larger than the budget is not kept."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        # Guards the attributes below; no other lock is taken while it is held.
        self._lock = threading.Lock()
        self._embeddings: OrderedDict[ChunkKey, np.ndarray] = OrderedDict()  # oldest use first
        self.num_bytes = 0

    def get(self, key: ChunkKey) -> np.ndarray | None:
        """Return the embeddings of a chunk and count them as used now; None if there are none."""
        with self._lock:
            embeddings = self._embeddings.get(key)
            if embeddings is not None:
                self._embeddings.move_to_end(key)
            return embeddings

    def put(self, key: ChunkKey, embeddings: np.ndarray) -> None:
        """Keep the embeddings of a chunk, evicting others."""
        if embeddings.nbytes > self._budget_bytes:
            return
        with self._lock:
            before = self._embeddings.pop(key, None)
            self.num_bytes += embeddings.nbytes - (0 if before is None else before.nbytes)
            self._embeddings[key] = embeddings
            while self.num_bytes > self._budget_bytes:
                _, evicted = self._embeddings.popitem(last=False)
                self.num_bytes -= evicted.nbytes

    def clear(self) -> None:
        """Evict everything."""
        with self._lock:
            self._embeddings.clear()
            self.num_bytes = 0
