"""Ids of media in files are translated back for the chunks that were saved last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.media.library import MediaLibrary
from localrun.runner.media import stable_ids
from localrun.runner.media.stable_ids import StableIds
from tests.engine.media.test_library import chunk_of

if TYPE_CHECKING:
    import pytest


def test_the_chunks_that_were_saved_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stable_ids, "MAX_CHUNKS", 2)
    library = MediaLibrary()
    ids = StableIds(library, lambda content: 1000 * content[0])
    first, second, third = [chunk_of(library, name).ids for name in (b"a", b"b", b"c")]

    stable = [ids.stable(tokens) for tokens in (first, second, first, third)]

    assert ids.local(stable[0]) == first
    assert ids.local(stable[1]) is None
    assert ids.local(stable[3]) == third
