"""The menu of a bare ``localrun``, and the offer to pull a model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from localrun.cli.menu.entries import (
    NUM_RECOMMENDED,
    RECOMMENDED,
    MenuContent,
    MenuEntry,
    matching,
    menu_entries,
)
from localrun.cli.menu.picker import Picker
from localrun.conversations.message import ChatSummary
from localrun.registry.catalog import load_catalog
from localrun.services.workspace import open_workspace

if TYPE_CHECKING:
    from tests.cli.conftest import Localrun

GIGABYTE = 10**9
CHAT = ChatSummary(
    id="1f3a5b7c", title="Why?\x1b[2J", model="guide:latest", created_s=1, updated_s=2,
    num_messages=2, head=2,
)  # fmt: skip


def content(memory: int = 24 * GIGABYTE, **changes: object) -> MenuContent:
    models = open_workspace({"HOME": "/nowhere", "LOCALRUN_MODELS": "/nowhere"}).models
    base = MenuContent(models=models.list_models(), catalog=load_catalog(), memory_bytes=memory)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_the_last_chat_is_first_then_models_then_others_to_pull() -> None:
    entries = menu_entries(content(last_chat=CHAT))

    assert entries[0].arguments == ("run", "--chat", "1f3a5b7c")
    assert "\x1b" not in entries[0].line
    assert entries[1].arguments == ("run", "guide")
    assert "fits" in entries[1].detail
    assert [entry.arguments for entry in entries[-2:]] == [("help", "editors"), ("help",)]


def test_the_model_of_the_last_chat_is_the_first_of_the_models() -> None:
    (guide,) = content().models
    other = replace(guide, name="other:latest", modified=datetime.now(tz=UTC))

    entries = menu_entries(content(models=[guide, other], last_model="other:latest"))

    assert [entry.arguments[1] for entry in entries[:2]] == ["other", "guide"]


@pytest.mark.parametrize("memory", [4 * GIGABYTE, 16 * GIGABYTE, 256 * GIGABYTE])
def test_what_is_recommended_leaves_memory_to_others(memory: int) -> None:
    catalog = load_catalog()

    pulls = [entry for entry in menu_entries(content(memory)) if entry.label.startswith("Pull")]

    assert 0 < len(pulls) <= NUM_RECOMMENDED
    for entry in pulls:
        family, _, tag = entry.arguments[1].partition(":")
        size = catalog.find(family, tag)
        assert size is not None
        assert size.size_bytes < memory / 2


def test_every_recommended_family_is_in_the_catalog() -> None:
    assert all(load_catalog().sizes(family) for family in RECOMMENDED)


def test_a_model_that_is_too_large_says_so() -> None:
    entries = menu_entries(content(memory=10**6))

    assert "does not fit" in entries[0].detail


def entries(*labels: str) -> list[MenuEntry]:
    return [MenuEntry(label=label, arguments=(label,)) for label in labels]


def test_typing_filters_by_all_words() -> None:
    rows = entries("Chat with guide", "Chat with other", "Help")

    assert [row.label for row in matching(rows, "oth chat")] == ["Chat with other"]
    assert matching(rows, "") == rows


def test_the_mark_goes_around_and_starts_again_with_each_letter() -> None:
    picker = Picker(entries("a", "ab", "b"))

    picker.move(-1)
    assert picker.taken() == picker.entries[2]
    picker.type("a")
    picker.move(1)
    assert picker.taken() == picker.entries[1]
    picker.erase()
    assert picker.taken() == picker.entries[0]
    picker.type("zz")
    assert picker.taken() is None
    picker.move(1)


def test_without_a_terminal_there_is_help(localrun_alone: Localrun) -> None:
    done = localrun_alone()

    assert done.returncode == 2
    assert "Usage: localrun" in done.stdout
