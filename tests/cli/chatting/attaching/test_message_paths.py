"""Paths in messages: what is a path, and what is text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.chatting.attaching.message_paths import MAX_CHECKED, find_paths

EXISTING = {
    "photo.jpg", "./my photo.jpg", "/srv/a b.png", "notes.txt", "src/", "src/main.py", "~/x.wav",
    "C:\\photos\\a b.jpg", "C:/photos/a.jpg", "it's.png", "/home", "a(1).png", "日本.jpg",
    "my notes.txt", "C:/a b.png", "\\\\server\\a.png",
}  # fmt: skip


def found(text: str, *, is_windows: bool = False) -> list[str]:
    mentions = find_paths(text, EXISTING.__contains__, is_windows=is_windows)
    return [one.path for one in mentions]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("what is in ./my\\ photo.jpg?", ["./my photo.jpg"]),
        ("what is in photo.jpg", ["photo.jpg"]),
        ("'/srv/a b.png' and \"./my photo.jpg\"", ["/srv/a b.png", "./my photo.jpg"]),
        ("('/srv/a b.png')", ["/srv/a b.png"]),
        ("(see photo.jpg).", ["photo.jpg"]),
        ("file:///srv/a%20b.png", ["/srv/a b.png"]),
        ("file://localhost/srv/a%20b.png!", ["/srv/a b.png"]),
        ("/srv/a b.png", ["/srv/a b.png"]),
        ("/srv/a\\ b.png ", ["/srv/a b.png"]),
        ("~/x.wav", ["~/x.wav"]),
        ("explain @src/main.py, and @notes.txt", ["src/main.py", "notes.txt"]),
        ('@"my notes.txt"', ["my notes.txt"]),
        ("it\\'s.png", ["it's.png"]),
        ("a\\(1\\).png", ["a(1).png"]),
        ("日本.jpgは", []),
        ("日本.jpg。", ["日本.jpg"]),
        ("@src/ is a folder", ["src/"]),
        ("photo.jpg\nphoto.jpg", ["photo.jpg", "photo.jpg"]),
    ],
)
def test_paths_of_existing_files_are_recognised(text: str, paths: list[str]) -> None:
    assert found(text) == paths


@pytest.mark.parametrize(
    "text",
    [
        "/help",
        "notes.txt is a name, not a path",
        "either/or",
        "me@notes.txt",
        "don't",
        "'",
        "@",
        "\\",
        "a\\\n\\",
        "http://example.org/photo.jpg",
        "\0/photo.jpg",
        "",
    ],
)
def test_other_words_are_text(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("C:\\photos\\a.jpg", []),
        ('"C:\\photos\\a b.jpg"', ["C:\\photos\\a b.jpg"]),
        ("see C:/photos/a.jpg.", ["C:/photos/a.jpg"]),
        ("file:///C:/a%20b.png", ["C:/a b.png"]),
        ("\\\\server\\a.png", ["\\\\server\\a.png"]),
    ],
)
def test_paths_of_windows_are_recognised_there(text: str, paths: list[str]) -> None:
    assert found(text, is_windows=True) == paths


def test_a_mention_spans_what_was_written() -> None:
    text = "see @'my notes.txt', please"

    (mention,) = find_paths(text, EXISTING.__contains__)

    assert text[mention.start : mention.end] == "@'my notes.txt'"
    assert mention.is_marked


def test_a_pasted_log_is_looked_up_on_the_disk_so_often_at_most() -> None:
    checked: list[str] = []

    def note(path: str) -> bool:
        checked.append(path)
        return False

    find_paths("/a/b/c\n" * 10_000, note)

    assert len(checked) == MAX_CHECKED


@given(st.text(alphabet="ab./\\'\"@([{< \n~", max_size=60))
def test_mentions_are_in_order_and_apart(text: str) -> None:
    mentions = find_paths(text, lambda _path: True, is_windows=False)

    bounds = [0, *(edge for one in mentions for edge in (one.start, one.end)), len(text)]
    assert bounds == sorted(bounds)
    assert all(one.path for one in mentions)


@pytest.mark.parametrize("piece", ["(", "'", "\\ ", "\"'", "a\\ b\\ ", "@", "['", "' "])
def test_the_time_is_linear(piece: str) -> None:
    """A search that is quadratic would not end."""
    assert find_paths(piece * 300_000, lambda _path: False) == []
