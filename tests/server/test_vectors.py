"""Large answers are the same JSON, written a few values at a time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.server.vectors import CHARACTERS_AT_ONCE, ITEMS_AT_ONCE, large_json

if TYPE_CHECKING:
    import pytest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=25, deadline=None)
@given(body=st.dictionaries(st.text(), VALUES))
def test_a_large_answer_is_json(body: dict[str, Any]) -> None:
    assert json.loads(bytes(asyncio.run(large_json(body)).body)) == body


def test_a_million_numbers_are_not_encoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\U0001f600\n" * 200_000
    body = {
        "text": text,
        "tokens": list(range(10 * ITEMS_AT_ONCE + 1)),
        "rows": [[0.5] * 3 * ITEMS_AT_ONCE] * 2,
    }
    lengths: list[int] = []
    dumps = json.dumps

    def noting(value: object, **options: Any) -> str:
        if isinstance(value, list):
            lengths.append(len(value))
        assert not isinstance(value, str) or len(value) <= CHARACTERS_AT_ONCE
        return dumps(value, **options)

    monkeypatch.setattr("localrun.server.vectors.json.dumps", noting)
    content = bytes(asyncio.run(large_json(body)).body)

    assert json.loads(content) == body
    assert max(lengths) == ITEMS_AT_ONCE
