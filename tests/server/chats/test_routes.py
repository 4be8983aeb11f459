"""``/api/localrun/chats``: kept chats for pages and programs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.conversations.message import KeptMessage
from localrun.conversations.store import ConversationStore
from tests.server.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTES = [
    ("GET", ""),
    ("POST", ""),
    ("GET", "/search?text=a"),
    ("GET", "/changes"),
    ("GET", "/00000000"),
    ("DELETE", "/00000000"),
    ("POST", "/00000000/messages"),
    ("GET", "/00000000/messages/1/images"),
    ("POST", "/00000000/head"),
    ("POST", "/00000000/title"),
    ("POST", "/00000000/settings"),
    ("GET", "/00000000/export"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALRUN_CHATS", str(tmp_path / "chats"))
    monkeypatch.delenv("LOCALRUN_NOSAVE", raising=False)
    return tmp_path / "chats"


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    assert not folder.exists()
    with serving() as served, httpx.Client(base_url=f"{served.url}/api/localrun/chats") as found:
        yield found


def begun(client: httpx.Client, *contents: str) -> str:
    """Return a new chat with one message after another."""
    chat: str = client.post("", json={"model": "guide"}).json()["id"]
    for content in contents:
        append(client, chat, content)
    return chat


def append(client: httpx.Client, chat: str, content: str, **fields: Any) -> int:
    body = {"role": "user", "content": content, **fields}
    answer = client.post(f"/{chat}/messages", json=body)
    assert answer.status_code == 201, answer.text
    number: int = answer.json()["id"]
    return number


def contents(client: httpx.Client, chat: str, **query: str) -> list[str]:
    return [one["content"] for one in client.get(f"/{chat}", params=query).json()["messages"]]


def test_what_a_client_appends_a_terminal_finds(client: httpx.Client, folder: Path) -> None:
    chat = client.post("", json={"model": "guide", "settings": {"system": "s"}}).json()["id"]
    call = {"function": {"name": "add", "arguments": {"a": 1}}}
    append(client, chat, "yes", role="assistant", thinking="hm", tool_calls=[call], model="guide")

    store = ConversationStore(folder)
    (message,) = store.path(chat)

    assert (message.content, message.thinking, message.model) == ("yes", "hm", "guide")
    assert message.tool_calls == (call,)
    assert store.settings(chat) == {"system": "s"}


def test_messages_follow_the_head_and_other_parents_begin_branches(client: httpx.Client) -> None:
    chat = begun(client, "why?")
    first = append(client, chat, "one", role="assistant")
    question = client.get(f"/{chat}").json()["messages"][0]["id"]

    append(client, chat, "two", role="assistant", parent=question)

    assert contents(client, chat) == ["why?", "two"]
    assert contents(client, chat, all="1") == ["why?", "one", "two"]
    client.post(f"/{chat}/head", json={"message": first})
    assert contents(client, chat) == ["why?", "one"]
    append(client, chat, "anew", parent=0)
    assert contents(client, chat) == ["anew"]


def test_pages_lead_to_the_next(client: httpx.Client) -> None:
    chats = [begun(client, str(number)) for number in range(3)]

    first = client.get("", params={"limit": 2}).json()
    second = client.get("", params={"limit": 2, "before": first["next"]}).json()

    assert [one["id"] for one in first["chats"]] == [chats[2], chats[1]]
    assert [one["id"] for one in second["chats"]] == [chats[0]]
    assert "next" not in second


def test_chats_are_searched_renamed_exported_and_removed(client: httpx.Client) -> None:
    chat = begun(client, "Why do llamas hum?")

    hits = client.get("/search", params={"text": "lama"}).json()["hits"]
    client.post(f"/{chat}/title", json={"title": "Humming"})
    markdown = client.get(f"/{chat[:6]}/export")
    exported = client.get(f"/{chat}/export", params={"format": "json"})
    removed = client.delete(f"/{chat}")

    assert [hit["chat"]["id"] for hit in hits] == [chat]
    assert markdown.text.startswith("# Humming\n")
    assert markdown.headers["content-disposition"] == f'attachment; filename="chat-{chat}.md"'
    assert exported.json()["messages"][0]["content"] == "Why do llamas hum?"
    assert removed.status_code == 200
    assert client.get("").json() == {"chats": []}


def test_reading_creates_no_file(client: httpx.Client, folder: Path) -> None:
    assert client.get("").json() == {"chats": []}
    assert client.get("/search", params={"text": "llama"}).json() == {"hits": []}
    assert client.get("/changes").json() == {"revision": 0}
    assert client.get("/00000000").status_code == 404
    assert not folder.exists()


@pytest.mark.parametrize("writer", ["a client", "another process"])
def test_a_wait_ends_with_the_next_change(client: httpx.Client, folder: Path, writer: str) -> None:
    chat = begun(client, "a")
    before = client.get("/changes").json()["revision"]
    answers: list[int] = []
    query: dict[str, str | int] = {"since": before, "wait_s": 60}
    waiting = threading.Thread(
        target=lambda: answers.append(client.get("/changes", params=query).json()["revision"])
    )

    waiting.start()
    if writer == "a client":
        append(client, chat, "b")
    else:
        ConversationStore(folder).append_to_head(chat, KeptMessage(role="user", content="b"))
    waiting.join()

    assert answers == [before + 1]


def test_a_wait_without_a_change_ends_in_time(client: httpx.Client) -> None:
    begun(client)

    answer = client.get("/changes", params={"since": 1, "wait_s": 1})

    assert answer.json() == {"revision": 1}


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("GET", "?limit=0", None, "limit"),
        ("GET", "?limit=%C2%B2", None, "limit"),
        ("GET", "/changes?since=-1", None, "since"),
        ("GET", "/changes?wait_s=99999", None, "wait_s"),
        ("GET", "/search", None, "text"),
        ("GET", "/00000000?all=yes", None, "all"),
        ("GET", "/00000000/export?format=exe", None, "format"),
        ("POST", "", {}, "model"),
        ("POST", "", {"model": "m", "settings": {"a": "x" * 100_000}}, "settings"),
        ("POST", "/00000000/messages", {"content": "a"}, "role"),
        ("POST", "/00000000/messages", {"role": "wizard"}, "role"),
        ("POST", "/00000000/messages", {"role": "user", "tool_calls": [1]}, "tool_calls"),
        ("POST", "/00000000/messages", {"role": "user", "parent": -1}, "parent"),
        ("POST", "/00000000/head", {"message": "a"}, "message"),
        ("POST", "/00000000/title", {"title": ""}, "title"),
    ],
)
def test_errors_name_the_field(
    client: httpx.Client, method: str, path: str, body: dict[str, Any] | None, param: str
) -> None:
    answer = client.request(method, path, json=body)

    assert answer.status_code == 400
    assert param in answer.json()["error"]


def test_largest_numbers_are_no_message(client: httpx.Client) -> None:
    chat = begun(client, "a")

    for number in (2**63 - 1, 2**40):
        body = {"role": "user", "content": "b", "parent": number}
        answer = client.post(f"/{chat}/messages", json=body)
        assert answer.status_code == 400
        assert f"no message {number}" in answer.json()["error"]


def test_a_server_that_keeps_no_chats_still_lists_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = ConversationStore(folder).create("guide")
    monkeypatch.setenv("LOCALRUN_NOSAVE", "1")
    with serving() as served:
        url = f"{served.url}/api/localrun/chats"
        created = httpx.post(url, json={"model": "guide"})
        appended = httpx.post(f"{url}/{chat}/messages", json={"role": "user", "content": "a"})
        listed = httpx.get(url).json()["chats"]

    assert (created.status_code, appended.status_code) == (400, 400)
    assert "LOCALRUN_NOSAVE" in created.json()["error"]
    assert [one["num_messages"] for one in listed] == [0]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_serves_another_page(client: httpx.Client, method: str, path: str) -> None:
    other = client.request(method, path, headers={"Origin": "http://localhost:1"}, json={})

    assert other.status_code == 403
    assert "private" in other.json()["error"]


def test_the_settings_of_a_chat_are_replaced(client: httpx.Client) -> None:
    chat = begun(client, "hello")
    before = client.get("/changes").json()["revision"]

    answer = client.post(f"/{chat}/settings", json={"settings": {"system": "Be brief."}})

    assert answer.status_code == 200
    assert client.get(f"/{chat}").json()["settings"] == {"system": "Be brief."}
    assert client.get("/changes").json()["revision"] > before
    assert client.post(f"/{chat}/settings", json={}).status_code == 400
    assert client.post("/ffffffff/settings", json={"settings": {}}).status_code == 404


def test_images_are_kept_beside_their_message(client: httpx.Client) -> None:
    chat = begun(client, "text")
    number = append(client, chat, "look", images=["AAEC", "/w=="], attachments=["a.png", "b.png"])

    first, second = client.get(f"/{chat}").json()["messages"]

    assert "num_images" not in first
    assert second["num_images"] == 2
    assert "images" not in second
    images = f"/{chat}/messages/{number}/images"
    assert client.get(images).json() == {"images": ["AAEC", "/w=="]}
    assert client.get(f"/{chat}/messages/{first['id']}/images").json() == {"images": []}
    exported = client.get(f"/{chat}/export", params={"format": "json"}).json()["messages"]
    assert [one.get("images") for one in exported] == [None, ["AAEC", "/w=="]]


@pytest.mark.parametrize("images", ["?", [1], ["?"], [""], ["AA"] * 257])
def test_what_is_no_image_is_refused_and_nothing_is_kept(client: httpx.Client, images: Any) -> None:
    chat = begun(client)
    body = {"role": "user", "content": "look", "images": images}

    answer = client.post(f"/{chat}/messages", json=body)

    assert answer.status_code == 400
    assert "images" in answer.json()["error"]
    assert contents(client, chat) == []
