"""Media encoder of one runner: encodes chunks on the engine thread, letting other work go on.

Owns the projector and the embeddings of the library. A chunk that no sequence needs any more is
not encoded to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.media.chunk import MediaChunk
    from localrun.engine.media.library import MediaLibrary
    from localrun.engine.media.projector import LoadedProjector


class MediaEncoder:
    """Encodes by one projector into one library."""

    def __init__(
        self,
        projector: LoadedProjector,
        library: MediaLibrary,
        on_use: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """``on_use`` is called with True before each encode, which may abort the process."""
        self.projector = projector
        self.library = library
        self.num_encoded = 0
        self._on_use = on_use

    def encode(self, chunk: MediaChunk, go_on: Callable[[], bool]) -> None:
        """Encode a chunk, unless ``go_on`` returns False in one of the pauses.

        Raises:
            BackendError: libmtmd fails; the process must not go on with it.
        """
        self._on_use(True)  # noqa: FBT003 - the callback's only argument
        embeddings = self.projector.encode(chunk, go_on)
        self._on_use(False)  # noqa: FBT003
        if embeddings is not None:
            self.num_encoded += 1
            self.library.set_embeddings(chunk, embeddings)

    def close(self) -> None:
        """Free the projector; the model must still exist."""
        self.projector.close()
