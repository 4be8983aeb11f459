"""Stable ids of media tokens: what stands for images and sounds in saved prompts.

Ids of chunks are of one process. In files, a chunk's tokens are numbered from a fingerprint of its
key, which is made with the key of this machine, so that nobody can make another image with it.
The engine thread calls.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from localrun.engine.media.library import MAX_CHUNKS
from localrun.engine.media.token_ids import ids_of_chunk
from localrun.prefixes import border_behind

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.media.chunk import ChunkKey
    from localrun.engine.media.library import MediaLibrary


class StableIds:
    """Translation of tokens to their form in files and back; text tokens are the same in both."""

    def __init__(self, library: MediaLibrary, fingerprint: Callable[[bytes], int]) -> None:
        """``fingerprint`` returns a number below 2^61 (`PromptFolder.fingerprint`)."""
        self._library = library
        self._fingerprint = fingerprint
        self._local: OrderedDict[int, int] = OrderedDict()  # first local id by first stable id

    def stable(self, tokens: list[int]) -> list[int]:
        """Return the tokens in files, up to the first chunk that the library has forgotten."""
        if min(tokens, default=0) >= 0:
            return tokens
        stable: list[int] = []
        position = 0
        while position < len(tokens):
            first = tokens[position]
            if first >= 0:
                stable.append(first)
                position += 1
                continue
            key = self._library.key_of(first)
            if key is None:
                break
            end = border_behind(tokens, position + 1)
            ids = ids_of_chunk(self._number(key), end - position)
            self._remember(ids[0], first)
            stable += ids
            position = end
        return stable

    def local(self, tokens: list[int]) -> list[int] | None:
        """Return tokens of a file in this process; None if they have a chunk that is not known."""
        local: list[int] = []
        difference = 0
        for token in tokens:
            if token < 0 and token % 2:  # the first of a chunk
                first = self._local.get(token)
                if first is None:
                    return None
                difference = first - token
            local.append(token if token >= 0 else token + difference)
        return local

    def _remember(self, stable: int, local: int) -> None:
        """Keep the ids of a chunk, of as many as the library keeps, the last saved ones."""
        self._local[stable] = local
        self._local.move_to_end(stable)
        if len(self._local) > MAX_CHUNKS:
            self._local.popitem(last=False)

    def _number(self, key: ChunkKey) -> int:
        return self._fingerprint(key.digest + key.index.to_bytes(4))
