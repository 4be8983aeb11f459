"""``localrun chats``: kept chats in the shell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from localrun.conversations.message import KeptMessage
from localrun.conversations.store import ConversationStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Localrun


@pytest.fixture
def store(tmp_path: Path) -> ConversationStore:
    """Return the store that `localrun_alone` uses, see `tests.cli.fake_server.environment`."""
    return ConversationStore(tmp_path / "chats")


def begun(store: ConversationStore, content: str) -> str:
    chat = store.create("guide")
    store.append(chat, KeptMessage(role="user", content=content), parent=None)
    return chat


def test_chats_are_listed_shown_found_and_removed(
    store: ConversationStore, localrun_alone: Localrun
) -> None:
    chat = begun(store, "Why do llamas hum?")

    listed = localrun_alone("chats", "list")
    shown = localrun_alone("chats", "show", chat[:4])
    found = localrun_alone("chats", "search", "lama", "--json")
    exported = localrun_alone("chats", "export", chat, "--format", "json")
    removed = localrun_alone("chats", "rm", chat)

    assert chat in listed.stdout
    assert "Why do llamas hum?" in listed.stdout
    assert shown.stdout.endswith("## You\n\nWhy do llamas hum?\n")
    assert [hit["chat"]["id"] for hit in json.loads(found.stdout)] == [chat]
    assert json.loads(exported.stdout)["messages"][0]["content"] == "Why do llamas hum?"
    assert removed.returncode == 0
    assert store.chats() == []


def test_branches_are_exported_as_json_alone(
    store: ConversationStore, localrun_alone: Localrun
) -> None:
    chat = begun(store, "one")
    store.append(chat, KeptMessage(role="user", content="two"), parent=None)

    path = localrun_alone("chats", "export", chat, "--format", "json")
    tree = localrun_alone("chats", "export", chat, "--format", "json", "--branches")
    refused = localrun_alone("chats", "export", chat, "--branches")

    assert [one["content"] for one in json.loads(path.stdout)["messages"]] == ["two"]
    assert [one["content"] for one in json.loads(tree.stdout)["messages"]] == ["one", "two"]
    assert refused.returncode == 2


def test_bytes_that_are_no_text_are_an_unknown_id(localrun_alone: Localrun) -> None:
    done = localrun_alone("chats", "show", "\udcff")

    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_the_next_page_begins_behind_a_chat(
    store: ConversationStore, localrun_alone: Localrun
) -> None:
    chats = [begun(store, str(number)) for number in range(3)]

    done = localrun_alone("chats", "list", "--before", chats[2], "-n", "1", "--json")

    assert [chat["id"] for chat in json.loads(done.stdout)] == [chats[1]]


def test_an_unknown_chat_is_exit_code_3(store: ConversationStore, localrun_alone: Localrun) -> None:
    begun(store, "a")

    for command in ("show", "export", "rm"):
        done = localrun_alone("chats", command, "zz")
        assert done.returncode == 3
        assert done.stderr == "error: there is no chat zz\nhint: localrun chats list\n"


def test_several_chats_are_removed_only_if_the_user_is_sure(
    store: ConversationStore, localrun_alone: Localrun
) -> None:
    begun(store, "a")
    begun(store, "b")

    refused = localrun_alone("chats", "rm", "--all")
    kept = len(store.chats())
    removed = localrun_alone("chats", "rm", "--all", "--yes", "--json")

    assert (refused.returncode, kept) == (2, 2)
    assert len(removed.stdout.splitlines()) == 2
    assert store.chats() == []


def test_names_and_all_exclude_each_other(
    store: ConversationStore, localrun_alone: Localrun
) -> None:
    chat = begun(store, "a")

    assert localrun_alone("chats", "rm").returncode == 2
    assert localrun_alone("chats", "rm", "--all", chat).returncode == 2
    assert len(store.chats()) == 1


@pytest.mark.usefixtures("store")
def test_nothing_kept_is_no_error(localrun_alone: Localrun) -> None:
    done = localrun_alone("chats", "list")

    assert (done.returncode, done.stdout) == (0, "")
    assert "localrun run guide" in done.stderr
    assert localrun_alone("chats", "list", "--json").stdout == "[]\n"
