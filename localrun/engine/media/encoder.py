"""Media encoder of one runner: encodes chunks on the engine thread, letting other work go on.

Owns the projector and the embeddings of the library. A chunk that no sequence needs any more is
not encoded to its end. The gauge looks at the threads meanwhile, so that the step behind an encode,
whose own threads still spin, knows how many there is room for.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.media.chunk import MediaChunk
    from localrun.engine.media.library import MediaLibrary
    from localrun.engine.media.projector import LoadedProjector
    from localrun.engine.threads import ThreadGauge


class MediaEncoder:
    """Encodes by one projector into one library."""

    def __init__(
        self,
        projector: LoadedProjector,
        library: MediaLibrary,
        on_use: Callable[[bool], None] = lambda _: None,
        gauge: ThreadGauge | None = None,
    ) -> None:
        """``on_use`` is called with True before each encode, which may abort the process."""
        self.projector = projector
        self.library = library
        self.num_encoded = 0
        self._on_use, self._gauge = on_use, gauge

    def encode(self, chunk: MediaChunk, go_on: Callable[[], bool]) -> None:
        """Encode a chunk, unless ``go_on`` returns False in one of the pauses.

        Raises:
            BackendError: libmtmd fails; the process must not go on with it.
        """
        self._look()
        self._on_use(True)  # noqa: FBT003 - the callback's only argument
        embeddings = self.projector.encode(chunk, partial(self._pause, go_on))
        self._on_use(False)  # noqa: FBT003
        if embeddings is not None:
            self.num_encoded += 1
            self.library.set_embeddings(chunk, embeddings)

    def _pause(self, go_on: Callable[[], bool]) -> bool:
        self._look()
        return go_on()

    def _look(self) -> None:
        if self._gauge is not None:
            self._gauge.count(time.monotonic())

    def close(self) -> None:
        """Free the projector; the model must still exist."""
        self.projector.close()
