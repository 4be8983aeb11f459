"""Media in the requests of all APIs: read alike, and refused alike by a model of text only."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from localrun.chat.media_marks import MARK
from localrun.errors import UsageError
from localrun.server.parsing.base64_data import PIECE_CHARACTERS, decoded
from localrun.server.parsing.conversation import conversation
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.media import images_of, medium_of

if TYPE_CHECKING:
    from tests.server.serving import Served

PNG = b"\x89PNG\r\n\x1a\n image"
TEXT = base64.b64encode(PNG).decode()
DATA = f"data:image/png;base64,{TEXT}"


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, *parts]}]


IMAGE_URL = user({"type": "image_url", "image_url": {"url": DATA}})
SOUND = user({"type": "input_audio", "input_audio": {"data": "eA==", "format": "wav"}})
BLOCK = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": TEXT}}
RESULT = [
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [BLOCK]}],
    }
]
SHOT = {"type": "input_image", "image_url": DATA}
OUTPUT = [{"type": "function_call_output", "call_id": "c", "output": [SHOT]}]
IMAGES = [{"role": "user", "content": "what?", "images": [TEXT]}]


@pytest.mark.parametrize(
    ("path", "fields", "place", "lacks"),
    [
        (
            "/v1/chat/completions",
            {"messages": IMAGE_URL},
            "messages[0].content[1].image_url.url",
            "vision",
        ),
        (
            "/v1/chat/completions",
            {"messages": SOUND},
            "messages[0].content[1].input_audio.data",
            "audio",
        ),
        ("/v1/responses", {"input": user(SHOT)}, "input[0].content[1].image_url", "vision"),
        ("/v1/responses", {"input": OUTPUT}, "input[0].output[0].image_url", "vision"),
        ("/v1/messages", {"messages": user(BLOCK)}, "messages[0].content[1].source.data", "vision"),
        (
            "/v1/messages",
            {"messages": RESULT},
            "messages[0].content[0].content[0].source.data",
            "vision",
        ),
        ("/api/chat", {"messages": IMAGES}, "messages[0].images[0]", "vision"),
        ("/api/generate", {"prompt": "what?", "images": [TEXT]}, "images[0]", "vision"),
        (
            "/v1/tokenize",
            {"messages": IMAGE_URL},
            "messages[0].content[1].image_url.url",
            "vision",
        ),
    ],
)
def test_the_error_names_the_place_and_the_model(
    served: Served, path: str, fields: dict[str, Any], place: str, lacks: str
) -> None:
    body = {"model": "fake", "max_tokens": 5, **fields}
    response = httpx.post(f"{served.url}{path}", json=body)

    assert response.status_code == 400
    error = response.json()["error"]
    message = error if isinstance(error, str) else error["message"]
    assert message.startswith(f"{place} contains ")
    assert f"has no {lacks} support here: it reads text only" in message
    assert "fake" in message


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": DATA, "detail": "low"}},
        {"type": "image_url", "image_url": DATA, "detail": "low"},
        {"type": "input_image", "image_url": DATA, "detail": "low"},
        {"type": "image_url", "image_url": {"url": TEXT, "detail": "low"}},
    ],
)
def test_an_image_is_read_in_every_form_of_openai(part: dict[str, Any]) -> None:
    medium = medium_of(Fields(part))

    assert isinstance(medium, dict)
    assert medium["data"] == PNG
    assert medium["expected"] == "image"
    assert medium["detail"] == "low"


def test_media_stand_where_the_message_has_them() -> None:
    parts = [
        {"type": "text", "text": f"a{MARK}"},
        {"type": "image_url", "image_url": DATA},
        {"type": "text", "text": "b"},
        {"type": "text", "text": "c"},
    ]
    (message,) = conversation([{"role": "user", "content": parts}])

    assert message["content"] == f"a{MARK}b\nc"
    assert [medium["data"] for medium in message["media"]] == [PNG]


def test_images_of_ollama_stand_before_the_text() -> None:
    (message,) = conversation(IMAGES)

    assert message["content"] == f"{MARK}what?"
    assert images_of(Fields(IMAGES[0]))[0]["place"] == "images[0]"


@pytest.mark.parametrize("kind", ["text", "content", "base64"])
def test_a_document_of_text_becomes_text(kind: str) -> None:
    data = base64.b64encode(b"words").decode() if kind == "base64" else "words"
    block = {"type": "document", "title": "Notes", "source": {"type": kind, "data": data}}
    if kind == "content":
        block["source"] = {"type": kind, "content": [{"type": "text", "text": "words"}]}

    assert medium_of(Fields(block)) == "Notes\nwords"


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,x"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:;base64,"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:;base64,?"}}, "image_url.url"),
        ({"type": "image_url"}, "image_url"),
        ({"type": "input_image", "file_id": "file-1"}, "file_id"),
        ({"type": "input_audio", "input_audio": {}}, "input_audio.data"),
        ({"type": "file", "file": {"filename": "x"}}, "file.file_data"),
        ({"type": "input_file", "file_id": "file-1"}, "file_id"),
        ({"type": "video_url", "video_url": {"url": DATA}}, "type"),
        ({"type": "image", "source": {"type": "file", "file_id": "1"}}, "source.type"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(part: dict[str, Any], place: str) -> None:
    with pytest.raises(UsageError) as caught:
        medium_of(Fields(part))

    assert caught.value.param == place


def test_a_message_of_the_system_has_text_only() -> None:
    message = {"role": "system", "content": [{"type": "image_url", "image_url": DATA}]}

    with pytest.raises(UsageError, match="system may have text only"):
        conversation([message])


@pytest.mark.parametrize("size", [1, 2, 3, PIECE_CHARACTERS, 3 * PIECE_CHARACTERS + 5])
def test_base64_is_decoded_whole(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    text = base64.b64encode(data).decode()

    assert decoded(text, "x") == data
    assert decoded(text.rstrip("="), "x") == data
    assert decoded(text[:3] + "\r\n" + text[3:], "x") == data


@given(st.text('AZaz09+/=-_ \n"\u00e9\0', min_size=1, max_size=12))
@example("AA=A")
@example("A===")
@example("AA==AAAA")
@example("0000=")
def test_only_base64_is_decoded(text: str) -> None:
    plain = text.translate(str.maketrans("", "", "\n "))
    padded, digits = plain + "=" * (-len(plain) % 4), plain.rstrip("=")
    expected = b""
    if padded == digits + "=" * (-len(digits) % 4):  # Python 3.11 takes more padding than that
        with suppress(binascii.Error, ValueError):
            expected = binascii.a2b_base64(padded, strict_mode=True)

    if expected:
        assert decoded(text, "x") == expected
    else:
        with pytest.raises(UsageError, match="x is"):
            decoded(text, "x")
