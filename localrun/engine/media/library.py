"""Media library of one model: prepared media by the digest of what they were made from.

    source digest   -> parts of the medium: text tokens, and the keys of its chunks
    chunk key       -> ids, which a chunk keeps for the life of the process; shape
    chunk key       -> embeddings, within a budget (`EmbeddingCache`)

A medium that comes again is neither decoded nor encoded, as long as its embeddings are kept. The
library holds no pixels: a chunk holds them until it is encoded, and sequences hold the chunks.
Any thread may call.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from localrun.engine.media.chunk import ChunkKey, MediaChunk
from localrun.engine.media.embedding_cache import BUDGET_BYTES, EmbeddingCache
from localrun.engine.media.skipped_positions import SkippedPositions
from localrun.engine.media.token_ids import ids_of_chunk, number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from localrun.engine.media.chunk import ChunkInput, ChunkShape

MAX_SOURCES = 4096  # remembered; an entry takes some hundred bytes
MAX_CHUNKS = 16384  # remembered; a chunk that was forgotten gets new ids when it comes again


@dataclass(frozen=True, slots=True)
class TokenizedChunk:
    """A chunk as libmtmd returns it: its shape and its input."""

    shape: ChunkShape
    source: ChunkInput


TokenizedPart = tuple[int, ...] | TokenizedChunk  # text tokens, or a chunk
MediaPart = tuple[int, ...] | MediaChunk
Layout = tuple["tuple[int, ...] | ChunkKey", ...]


@dataclass(frozen=True, slots=True)
class _KnownChunk:
    first_number: int
    shape: ChunkShape

    @property
    def ids(self) -> list[int]:
        return ids_of_chunk(self.first_number, self.shape.num_tokens)


class MediaLibrary:
    """Prepared media, and the ids of their chunks."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self.embeddings = EmbeddingCache(budget_bytes)
        self.skipped = SkippedPositions()
        # Guards the attributes below; the lock of the embedding cache may be taken inside.
        self._lock = threading.Lock()
        self._layouts: OrderedDict[bytes, Layout] = OrderedDict()  # by source, oldest use first
        self._known: OrderedDict[ChunkKey, _KnownChunk] = OrderedDict()  # oldest use first
        self._live: WeakValueDictionary[ChunkKey, MediaChunk] = WeakValueDictionary()
        self._keys: dict[int, ChunkKey] = {}  # of known chunks, by the first number
        self._next_number = 0  # of a media token

    def find(self, source_digest: bytes) -> tuple[MediaPart, ...] | None:
        """Return the parts of a known medium, or None if it must be decoded (again)."""
        with self._lock:
            layout = self._layouts.get(source_digest)
            if layout is None:
                return None
            self._layouts.move_to_end(source_digest)
            parts = [part if isinstance(part, tuple) else self._revived(part) for part in layout]
        return tuple(part for part in parts if part is not None) if None not in parts else None

    def add(
        self, source_digest: bytes, content_digest: bytes, parts: Sequence[TokenizedPart]
    ) -> tuple[MediaPart, ...]:
        """Return the parts of a decoded medium with ids, and remember them.

        ``content_digest`` is that of pixels or samples, so that files with equal content are equal.
        """
        made: list[MediaPart] = []
        with self._lock:
            for part in parts:
                if isinstance(part, tuple):
                    made.append(part)
                    continue
                num_chunks = sum(isinstance(one, MediaChunk) for one in made)
                made.append(self._chunk(ChunkKey(digest=content_digest, index=num_chunks), part))
            self._layouts[source_digest] = tuple(
                part if isinstance(part, tuple) else part.key for part in made
            )
            if len(self._layouts) > MAX_SOURCES:
                self._layouts.popitem(last=False)
        return tuple(made)

    def set_embeddings(self, chunk: MediaChunk, embeddings: np.ndarray) -> None:
        """Record that a chunk is encoded: its input is no longer needed."""
        chunk.embeddings, chunk.source = embeddings, None
        self.embeddings.put(chunk.key, embeddings)

    def key_of(self, first_id: int) -> ChunkKey | None:
        """Return the key of the chunk whose first token has an id; None if it is forgotten."""
        with self._lock:
            return self._keys.get(number_of(first_id))

    def _revived(self, key: ChunkKey) -> MediaChunk | None:
        """Return a chunk that a sequence holds, or one whose embeddings are kept."""
        live = self._live.get(key)
        if live is not None:
            self._count_use(live.ids[0], live.shape)
            self.embeddings.get(key)  # counts as a use
            return live
        known, embeddings = self._known.get(key), self.embeddings.get(key)
        if known is None or embeddings is None:
            return None
        self._known.move_to_end(key)
        self._count_use(known.ids[0], known.shape)
        chunk = MediaChunk(key=key, shape=known.shape, ids=known.ids, embeddings=embeddings)
        self._live[key] = chunk
        return chunk

    def _chunk(self, key: ChunkKey, made: TokenizedChunk) -> MediaChunk:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._numbered(made.shape)
            self._keys[known.first_number] = key
        self._count_use(known.ids[0], known.shape)
        revived = self._revived(key)
        if revived is not None:
            return revived
        chunk = MediaChunk(key=key, shape=known.shape, ids=known.ids, source=made.source)
        self._live[key] = chunk
        return chunk

    def _numbered(self, shape: ChunkShape) -> _KnownChunk:
        known = _KnownChunk(self._next_number, shape)
        self._next_number += shape.num_tokens
        if len(self._known) >= MAX_CHUNKS:
            _, forgotten = self._known.popitem(last=False)
            del self._keys[forgotten.first_number]
        return known

    def _count_use(self, first_id: int, shape: ChunkShape) -> None:
        self.skipped.add(first_id, shape.num_tokens - shape.num_positions)
