"""Templates of recipes become Jinja."""

from __future__ import annotations

import pytest

from localrun.errors import UsageError
from localrun.services import recipes
from localrun.services.recipes import MAX_CHARS, to_jinja


def test_a_template_of_any_length_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(recipes, "is_go_template", read.append)

    with pytest.raises(UsageError, match=f"more than {MAX_CHARS}"):
        to_jinja("{" * (MAX_CHARS + 1))

    assert read == []
