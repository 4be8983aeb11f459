from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from localrun.server.anthropic.models import model_page
from tests.server.serving import FakeCatalogue

MODELS = [replace(FakeCatalogue().model, name=f"{letter}:latest") for letter in "abcd"]


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        ({}, "abcd", False),
        ({"limit": "3"}, "abc", True),
        ({"limit": "3", "after_id": "c"}, "d", False),
        ({"limit": "2", "after_id": "a"}, "bc", True),
        ({"limit": "2", "before_id": "d"}, "bc", True),
        ({"limit": "2", "before_id": "c"}, "ab", False),
        ({"after_id": "d"}, "", False),
    ],
)
def test_models_come_in_pages(query: dict[str, str], ids: str, *, has_more: bool) -> None:
    page: Any = model_page(MODELS, query)

    assert "".join(model["id"] for model in page["data"]) == ids
    assert page["has_more"] == has_more
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
