"""Kept chats: trees of messages, private files, damage, full disks and several processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.conversations import schema
from localrun.conversations.database import NAME, Database
from localrun.conversations.message import MAX_TEXT, KeptMessage
from localrun.conversations.store import ConversationStore
from localrun.errors import (
    ConversationNotFoundError,
    IntegrityError,
    StorageError,
    UsageError,
)
from tests.fakes.full_disk import size_limit
from tests.measuring import plain_loops
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

APPENDING = """
import sys
from pathlib import Path
from localrun.conversations.message import MAX_TEXT, KeptMessage
from localrun.conversations.store import ConversationStore
store = ConversationStore(Path(sys.argv[1]))
parent = None
for number in range(int(sys.argv[3])):
    parent = store.append(sys.argv[2], KeptMessage(role="user", content=str(number)), parent=parent)
    print(parent, flush=True)
"""


BEGINNING = """
import sys
from pathlib import Path
from localrun.conversations.message import KeptMessage
from localrun.conversations.store import ConversationStore
store = ConversationStore(Path(sys.argv[1]))
store.append(store.create("guide"), KeptMessage(role="user", content=sys.argv[2]), parent=None)
"""


@pytest.fixture
def store(tmp_path: Path) -> ConversationStore:
    clock = iter(range(1, 10**6))
    return ConversationStore(tmp_path / "chats", clock_s=lambda: float(next(clock)))


def said(content: str, role: str = "user") -> KeptMessage:
    return KeptMessage(role=role, content=content)


def begun(store: ConversationStore, *contents: str) -> str:
    """Return a new chat with one message after another."""
    chat, parent = store.create("guide"), None
    for content in contents:
        parent = store.append(chat, said(content), parent=parent)
    return chat


def contents(store: ConversationStore, chat: str) -> list[str]:
    return [message.content for message in store.path(chat)]


def damaged(store: ConversationStore, damage: str) -> bytes:
    """Damage the file; return its bytes."""
    content = bytearray(store.file.read_bytes())
    if damage == "header":
        content[:16] = b"\0" * 16
    else:
        content[4096:] = b"\xff" * (len(content) - 4096)
    store.file.write_bytes(content)
    return bytes(content)


def test_a_chat_returns_what_was_appended(store: ConversationStore) -> None:
    chat = store.create("guide", settings={"system": "short"})
    message = KeptMessage(
        role="assistant",
        content="yes",
        thinking="hm",
        tool_calls=({"function": {"name": "add", "arguments": {"a": 1}}},),
        attachments=("photo.jpg",),
        model="guide",
        created_s=7.0,
    )

    number = store.append(chat, message, parent=None)

    (kept,) = store.path(chat)
    assert kept.id == number
    assert kept.tool_calls == message.tool_calls
    assert (kept.thinking, kept.attachments, kept.created_s) == ("hm", ("photo.jpg",), 7.0)
    assert store.settings(chat) == {"system": "short"}


def test_a_second_answer_begins_a_branch_and_the_first_stays(store: ConversationStore) -> None:
    chat = store.create("guide")
    question = store.append(chat, said("why?"), parent=None)
    first = store.append(chat, said("one", "assistant"), parent=question)

    store.append(chat, said("two", "assistant"), parent=question)

    assert contents(store, chat) == ["why?", "two"]
    assert [message.content for message in store.messages(chat)] == ["why?", "one", "two"]
    store.set_head(chat, first)
    assert contents(store, chat) == ["why?", "one"]
    store.set_head(chat, None)
    assert store.path(chat) == []


def test_a_message_follows_messages_of_its_own_chat(store: ConversationStore) -> None:
    chat, other = begun(store, "a"), begun(store, "b")
    (message,) = store.path(other)

    with pytest.raises(UsageError, match=f"has no message {message.id}"):
        store.append(chat, said("c"), parent=message.id)
    with pytest.raises(UsageError, match="has no message"):
        store.set_head(chat, message.id)
    with pytest.raises(ConversationNotFoundError):
        store.append("00000000", said("c"), parent=None)
    with pytest.raises(UsageError, match="not a role"):
        store.append(chat, said("c", "wizard"), parent=None)
    with pytest.raises(UsageError, match="characters"):
        store.append(chat, said("x" * (MAX_TEXT + 1)), parent=None)
    assert contents(store, chat) == ["a"]


def test_the_first_line_is_the_title(store: ConversationStore) -> None:
    chat = begun(store, "\n  What   is\tthis?\nA thing.", "More")

    assert store.find(chat).title == "What is this?"
    store.rename(chat, "Things " * 100)
    assert len(store.find(chat).title) <= 200


def test_pages_list_each_chat_once_the_last_changed_first(store: ConversationStore) -> None:
    chats = [begun(store, str(number)) for number in range(5)]
    store.rename(chats[0], "renamed")
    store.append(chats[1], said("again"), parent=None)

    first = store.chats(limit=3)
    second = store.chats(limit=3, before=first[-1].id)

    order = [chat.id for chat in [*first, *second]]
    assert order == [chats[1], chats[4], chats[3], chats[2], chats[0]]
    latest = store.latest()
    assert latest is not None
    assert latest.id == chats[1]


def test_an_empty_chat_is_not_the_latest(store: ConversationStore) -> None:
    assert store.latest() is None
    chat = begun(store, "a")
    store.create("guide")

    latest = store.latest()

    assert latest is not None
    assert latest.id == chat


def test_ids_are_found_by_their_beginning(store: ConversationStore) -> None:
    chat = begun(store, "a")

    assert store.find(chat[:6]).id == chat
    assert store.find(chat.upper()).id == chat
    for wrong in ("", "g", "zzzz", chat + "0", "%", "'"):
        with pytest.raises(ConversationNotFoundError):
            store.find(wrong)


def test_a_beginning_of_several_ids_is_refused(store: ConversationStore) -> None:
    ids = [begun(store, "a") for _ in range(17)]
    shared = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)

    with pytest.raises(UsageError, match="several chats"):
        store.find(shared)


@pytest.mark.parametrize(
    "text", ["llam", "LLAMAS", "世界", "界", "llamas ar", 'a "quote', "50 %", "_x_", "é"]
)
def test_parts_of_words_are_found_in_all_languages(store: ConversationStore, text: str) -> None:
    chat = begun(store, 'The llamas are in 世界 with a "quote" and 50 % of _x_, café', "other")

    hits = store.search(text)

    assert [hit.chat.id for hit in hits] == [chat]
    assert hits[0].excerpt.startswith("The llamas")


@pytest.mark.parametrize("text", ['"', "AND", "a*", "(", "content:x", "NEAR(a b)", "\\", "%", "a_"])
def test_a_query_is_never_syntax(store: ConversationStore, text: str) -> None:
    begun(store, "Nothing of it")

    assert store.search(text) == []


def test_an_empty_or_endless_query_is_refused(store: ConversationStore) -> None:
    for text in ("", "  ", "x" * 2000):
        with pytest.raises(UsageError, match="characters"):
            store.search(text)


def test_a_removed_chat_leaves_no_bytes(store: ConversationStore) -> None:
    chat, other = begun(store, "a secret password"), begun(store, "something else")

    store.remove(chat)

    assert store.search("secret") == []
    assert [left.id for left in store.chats()] == [other]
    assert store.search("something") != []
    for file in store.file.parent.iterdir():
        assert b"secret" not in file.read_bytes()
    with pytest.raises(ConversationNotFoundError):
        store.path(chat)


def test_nothing_is_removed_if_one_chat_does_not_exist(store: ConversationStore) -> None:
    chat = begun(store, "a")

    with pytest.raises(ConversationNotFoundError):
        store.remove(chat, "00000000")

    assert contents(store, chat) == ["a"]


def test_every_change_is_counted(store: ConversationStore) -> None:
    before = store.revision()
    chat = begun(store, "a")
    store.rename(chat, "b")
    store.set_head(chat, None)
    store.remove(chat)

    assert store.revision() == before + 5


@pytest.mark.skipif(sys.platform == "win32", reason="modes of Unix")
def test_files_are_private_under_any_umask(tmp_path: Path) -> None:
    import os

    before = os.umask(0)
    try:
        store = ConversationStore(tmp_path / "new" / "chats")
        chat = begun(store, "a")
        reader = sqlite3.connect(store.file)  # keeps the log and its index in the folder
        reader.execute("SELECT count(*) FROM chats").fetchone()
        store.rename(chat, "b")
        modes = {file.name: file.stat().st_mode & 0o777 for file in store.file.parent.iterdir()}
        reader.close()
    finally:
        os.umask(before)

    assert set(modes.values()) == {0o600}
    assert len(modes) == 4
    assert store.file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_a_damaged_file_is_set_aside_and_chats_go_on(
    store: ConversationStore, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun(store, *("a long message " * 100 for _ in range(20)))
    content = damaged(store, damage)

    chat = begun(store, "after")

    assert contents(store, chat) == ["after"]
    (kept,) = store.file.parent.glob(f"{NAME}.damaged-*")
    assert kept.read_bytes() == content
    assert "is damaged" in caplog.text


def test_a_newer_format_is_refused_and_left_alone(store: ConversationStore) -> None:
    begun(store, "a")
    with sqlite3.connect(store.file) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()

    with pytest.raises(IntegrityError, match="format 99"):
        store.chats()
    assert list(store.file.parent.glob("*.damaged-*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
def test_a_full_disk_is_one_error_and_keeps_what_was_there(store: ConversationStore) -> None:
    chat = begun(store, "a")

    with size_limit(store.file.stat().st_size), pytest.raises(StorageError) as caught:
        store.append(chat, said("x" * 1_000_000), parent=None)

    assert caught.value.hint is not None
    assert contents(store, chat) == ["a"]
    store.append(chat, said("again"), parent=None)
    assert contents(store, chat) == ["again"]


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError):
        ConversationStore(tmp_path / "file" / "chats").create("guide")


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_processes_that_find_damage_at_once_lose_nothing(
    store: ConversationStore, damage: str
) -> None:
    begun(store, "a")
    content = damaged(store, damage)

    running = [
        subprocess.Popen([sys.executable, "-c", BEGINNING, str(store.file.parent), str(number)])
        for number in range(3)
    ]

    assert [process.wait(HANG_S) for process in running] == [0] * 3
    assert {chat.title for chat in store.chats()} == {"0", "1", "2"}
    (kept,) = store.file.parent.glob(f"{NAME}.damaged-*")
    assert kept.read_bytes() == content


def test_a_process_that_comes_late_leaves_the_new_file_alone(store: ConversationStore) -> None:
    begun(store, "a")
    damaged(store, "header")
    inode = store.file.stat().st_ino
    with sqlite3.connect(store.file) as database, pytest.raises(sqlite3.DatabaseError) as caught:
        database.execute("SELECT 1 FROM chats")
    database.close()
    chat = begun(store, "new")

    Database(store.file.parent)._mend(caught.value, inode)

    assert contents(store, chat) == ["new"]


def test_a_file_that_is_damaged_again_replaces_no_other(store: ConversationStore) -> None:
    contents = []
    for number in range(3):
        begun(store, str(number))
        contents.append(damaged(store, "header"))
    begun(store, "after")

    kept = store.file.parent.glob(f"{NAME}.damaged-*")

    assert sorted(file.read_bytes() for file in kept) == sorted(contents)


def test_a_damaged_index_is_rebuilt_and_no_message_is_lost(
    store: ConversationStore, caplog: pytest.LogCaptureFixture
) -> None:
    chat = begun(store, "llamas hum")
    with sqlite3.connect(store.file) as database:
        database.execute("UPDATE texts_data SET block = x'ffffffffffffffffff'")
    database.close()

    hits = store.search("llama")

    assert [hit.chat.id for hit in hits] == [chat]
    assert "it is rebuilt" in caplog.text
    assert list(store.file.parent.glob("*.damaged-*")) == []


def test_processes_and_threads_begin_at_once(tmp_path: Path) -> None:
    store = ConversationStore(tmp_path / "chats")
    arguments = [sys.executable, "-c", BEGINNING, str(tmp_path / "chats")]

    running = [subprocess.Popen([*arguments, str(number)]) for number in range(3)]
    with ThreadPoolExecutor(4) as threads:
        chats = list(threads.map(lambda number: begun(store, str(number), "b"), range(20)))

    assert [process.wait(HANG_S) for process in running] == [0] * 3
    assert len(store.chats()) == 23
    assert all(contents(store, chat) == [str(number), "b"] for number, chat in enumerate(chats))


def test_reading_creates_no_file(store: ConversationStore) -> None:
    assert store.chats() == []
    assert store.search("llama") == []
    assert (store.latest(), store.revision()) == (None, 0)
    with pytest.raises(ConversationNotFoundError):
        store.find("1f3a")
    assert not store.file.parent.exists()


def test_halves_of_characters_are_kept_as_question_marks(store: ConversationStore) -> None:
    chat = store.create("m\ud800", title="t\udcff")
    message = KeptMessage(role="user", content="a\udcff", thinking="\ud800", tool_name="\ud800")
    call = {"function": {"name": "read", "arguments": {"path": "b\udcff"}}}
    store.append(chat, replace(message, tool_calls=(call,), attachments=("c\udcff",)), parent=None)

    (kept,) = store.path(chat)
    assert (kept.content, kept.thinking, kept.tool_name) == ("a?", "?", "?")
    assert kept.attachments == ("c?",)
    assert kept.tool_calls[0]["function"]["arguments"] == {"path": "b?"}
    assert (store.find(chat).title, store.find(chat).model) == ("t?", "m?")
    assert store.search("a\udcff") != []
    for wrong in ("\udcff", "\0"):
        with pytest.raises(ConversationNotFoundError):
            store.find(wrong)


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**100])
def test_no_number_is_more_than_an_unknown_message(store: ConversationStore, number: int) -> None:
    chat = begun(store, "a")

    with pytest.raises(UsageError, match="no message"):
        store.append(chat, said("b"), parent=number)


def test_calls_and_attachments_count_as_text(store: ConversationStore) -> None:
    chat = store.create("guide")
    call = {"function": {"name": "write", "arguments": {"text": "x" * MAX_TEXT}}}

    for large in ({"tool_calls": (call,)}, {"attachments": ("x" * (MAX_TEXT + 1),)}):
        with pytest.raises(UsageError, match="characters"):
            store.append(chat, replace(said("a"), **large), parent=None)


def test_a_search_that_takes_too_long_is_an_error(tmp_path: Path) -> None:
    store = ConversationStore(tmp_path, search_s=-1)
    chat = begun(store, "first")
    with sqlite3.connect(store.file) as database:
        database.execute(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers"
            " WHERE n < 2000) INSERT INTO messages SELECT n + 9, chat, 1, role, n, thinking,"
            " tool_calls, tool_name, attachments, model, 0 FROM messages, numbers"
        )
    database.close()

    with pytest.raises(UsageError, match="too long"):
        store.search("zz")
    assert [hit.chat.id for hit in store.search("1999")] == [chat]


def test_without_an_index_the_messages_are_searched(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "INDEX", schema.INDEX.replace("'trigram'", "'nosuch'"))
    chat = begun(store, "The llamas hum in 世界")

    assert [hit.chat.id for hit in store.search("llama 世界")] == [chat]
    store.remove(chat)
    assert store.search("llama") == []


def test_two_processes_append_at_once(store: ConversationStore) -> None:
    chats = [begun(store), begun(store)]
    folder = str(store.file.parent)

    running = [
        subprocess.Popen([sys.executable, "-c", APPENDING, folder, chat, "30"]) for chat in chats
    ]

    assert [process.wait(HANG_S) for process in running] == [0, 0]
    expected = [str(number) for number in range(30)]
    assert [contents(store, chat) for chat in chats] == [expected, expected]


def test_a_killed_process_loses_nothing_that_it_had_kept(store: ConversationStore) -> None:
    chat = begun(store)
    arguments = [sys.executable, "-c", APPENDING, str(store.file.parent), chat, "100000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        process.kill()

    assert len(store.path(chat)) >= len(lines)
    store.append(chat, said("after"), parent=None)
    assert contents(store, chat) == ["after"]


def test_a_list_costs_no_more_with_ten_thousand_chats(store: ConversationStore) -> None:
    begun(store, "a")
    with sqlite3.connect(store.file) as database:
        rows = ((f"{number:08x}", number) for number in range(10_000))
        database.executemany(
            "INSERT INTO chats (id, title, model, settings, created_s, updated_s)"
            " VALUES (?, 't', 'm', '{}', 0, ?)",
            rows,
        )
    database.close()

    assert plain_loops(lambda: store.chats(limit=20)) < 20
