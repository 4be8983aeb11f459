"""Names with adapters."""

from __future__ import annotations

import pytest

from localrun.names.adapters import is_same_name, names_in, with_name


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("guide", "Guide:latest", True),
        ("guide+pirate@0.8", "guide:latest+Pirate:latest@0.80", True),
        ("guide+pirate", "guide+pirate@0.5", False),
        ("guide+pirate", "guide", False),
        ("guide:a", "guide:b", False),
        ("/models/a.gguf", "/models/a.gguf", True),
        ("/models/a+b.gguf", "/models/a.gguf", False),
    ],
)
def test_names_are_the_same_whatever_their_spelling(
    one: str, other: str, *, are_same: bool
) -> None:
    assert is_same_name(one, other) is are_same


def test_a_name_is_replaced_in_each_of_its_places() -> None:
    assert with_name("mine:latest", "Mine", "yours:latest") == "yours:latest"
    assert with_name("guide:latest+mine@0.5", "mine:latest", "yours:latest") == (
        "guide:latest+yours:latest@0.5"
    )
    assert with_name("guide:latest+other", "mine", "yours") == "guide:latest+other"


def test_the_parts_of_a_name_are_its_model_and_its_adapters() -> None:
    assert names_in("guide:latest+pirate@0.5+./x.gguf") == ("guide:latest", "pirate", "./x.gguf")
