"""A document that comes again, as at each turn of a chat, is not rendered again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from localrun.engine.media.chunk import MediaChunk
from localrun.engine.media.library import MediaLibrary, TokenizedChunk
from localrun.media import documents
from localrun.runner.media.reading import MediaReader
from tests.engine.media.test_library import tokenized
from tests.media.test_documents import pdf

if TYPE_CHECKING:
    import numpy as np

    from localrun.engine.media.projector import LoadedProjector
    from localrun.media.images import Pixels


class Seeing:
    """A projector of one chunk for each image."""

    sees = True

    def tokenize_image(self, pixels: np.ndarray) -> list[TokenizedChunk]:
        assert pixels.shape[2] == 3
        return tokenized(4)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the pages that are rendered from now on."""
    pages: list[object] = []
    render = documents._pixels_of

    def recorded(page: object, *rest: Any) -> Pixels:
        pages.append(page)
        return render(page, *rest)

    monkeypatch.setattr(documents, "_pixels_of", recorded)
    return pages


def reader() -> MediaReader:
    return MediaReader(cast("LoadedProjector", Seeing()), MediaLibrary())


def test_a_page_that_the_library_knows_is_not_rendered_again(rendered: list[object]) -> None:
    reading, medium = reader(), {"data": pdf("Hello", "", "")}
    first = reading.read(medium)
    num_first = len(rendered)

    again = reading.read(medium)

    assert (num_first, len(rendered)) == (2, 2)
    assert again == first
    assert [type(part) for part in first] == [str, str, MediaChunk, str, MediaChunk]


def test_a_page_of_another_document_is_rendered(rendered: list[object]) -> None:
    reading = reader()
    first = reading.read({"data": pdf("", "Hello")})

    reading.read({"data": pdf("", "Goodbye")})

    assert len(rendered) == 2
    assert len(first) == 3
