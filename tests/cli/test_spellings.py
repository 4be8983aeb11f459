"""Options whose values may be left out."""

from __future__ import annotations

import pytest

from localrun.cli.spellings import respelled


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("guide --think why", "guide --think=true why"),
        ("guide --think=high why", "guide --think=high why"),
        ("guide --no-think", "guide --think=false"),
        ("guide --hidethinking --keepalive 5m", "guide --hide-thinking --keep-alive 5m"),
        ("guide --keepalive=5m", "guide --keep-alive=5m"),
        ("guide --tools", "guide --tools=read"),
        ("guide --tools=write --tools src", "guide --tools=write --tools=src"),
        ("guide --tools why", "guide --tools=read why"),
        ("guide -- --think --tools src", "guide -- --think --tools src"),
        ("guide --think high why", "guide --think=high why"),
        ("guide --think --tools write", "guide --think=true --tools=write"),
        ("guide --tools ./why", "guide --tools=./why"),
        ("guide --think src", "guide --think=true src"),
        ("guide -o --think", "guide -o --think=true"),
        ("", ""),
    ],
)
def test_values_are_filled_in(written: str, parsed: str) -> None:
    result = respelled(written.split(), is_folder=lambda text: text == "src")

    assert result == parsed.split()
