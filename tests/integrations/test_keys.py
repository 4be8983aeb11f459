"""A server that requires a key after it had required none."""

from __future__ import annotations

import pytest

from localrun.integrations.formats.documents import edited_document
from localrun.integrations.target import NO_KEY
from tests.integrations.test_tools import WITH_FILES, settings

KEPT = {"cline", "roo", "qwen-code"}  # what a user typed; Qwen's is a fallback of the variable


@pytest.mark.parametrize("name", [name for name in WITH_FILES if name not in KEPT])
def test_the_placeholder_of_a_key_does_not_stay(name: str) -> None:
    before, after = settings(name), settings(name, needs_key=True)
    texts = [edited_document("", file.format, file.edits) for file in before]

    edited = [
        edited_document(text, file.format, file.edits)
        for text, file in zip(texts, after, strict=True)
    ]

    assert not any(f'"{NO_KEY}"' in text or f": {NO_KEY}\n" in text for text in edited)
