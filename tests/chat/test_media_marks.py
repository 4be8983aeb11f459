"""Media stand where their marks are, and text of clients has none."""

from __future__ import annotations

from localrun.chat.media_marks import MARK, joined, media_of, numbered, shown, split, without_marks

A, B, C = {"data": b"a"}, {"data": b"b"}, {"data": b"c"}


def test_texts_are_separated_and_media_are_not() -> None:
    assert joined(["x", "y", A, "z", B], "\n") == {
        "content": f"x\ny{MARK}z{MARK}",
        "media": [A, B],
    }
    assert joined(["x"], "\n") == {"content": "x"}


def test_marks_of_clients_are_removed() -> None:
    assert joined([f"x{MARK}0{MARK}", A], "") == {"content": f"x0{MARK}", "media": [A]}
    assert without_marks(MARK) == ""


def test_marks_are_numbered_through_a_conversation() -> None:
    messages = [
        {"role": "user", **joined([A, " and ", B], "")},
        {"role": "assistant", "content": f"no {MARK} here"},
        {"role": "user", **joined(["then ", C], "")},
    ]

    plain = numbered(messages)

    assert media_of(messages) == [A, B, C]
    assert all("media" not in message for message in plain)
    text = "".join(message["content"] for message in plain)
    assert split(text) == ["", 0, " and ", 1, "no  herethen ", 2, ""]
    assert shown(text) == "[media-0] and [media-1]no  herethen [media-2]"


def test_a_text_without_media_is_one_piece() -> None:
    assert split("plain") == ["plain"]
    assert shown("plain") == "plain"
