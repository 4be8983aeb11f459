"""What is no text is refused alike by all APIs, and the model is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.server.serving import Served

DATA = "data:image/png;base64,eA=="


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, *parts]}]


IMAGE_URL = user({"type": "image_url", "image_url": {"url": DATA}})
AUDIO = user({"type": "input_audio", "input_audio": {"data": "eA==", "format": "wav"}})
VIDEO = user({"type": "video_url", "video_url": {"url": DATA}})
BLOCK = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}}
RESULT = [
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [BLOCK]}],
    }
]
SHOT = {"type": "input_image", "image_url": DATA}
OUTPUT = [{"type": "function_call_output", "call_id": "c", "output": [SHOT]}]
IMAGES = [{"role": "user", "content": "what?", "images": ["eA=="]}]


@pytest.mark.parametrize(
    ("path", "fields", "place", "lacks"),
    [
        ("/v1/chat/completions", {"messages": IMAGE_URL}, "messages[0].content", "vision"),
        ("/v1/chat/completions", {"messages": AUDIO}, "messages[0].content", "audio"),
        ("/v1/chat/completions", {"messages": VIDEO}, "messages[0].content", "vision"),
        ("/v1/responses", {"input": user(SHOT)}, "input[0].content", "vision"),
        ("/v1/responses", {"input": OUTPUT}, "input[0].output", "vision"),
        ("/v1/messages", {"messages": user(BLOCK)}, "messages[0].content", "vision"),
        ("/v1/messages", {"messages": RESULT}, "messages[0].content", "vision"),
        ("/api/chat", {"messages": IMAGES}, "messages[0].images", "vision"),
        ("/api/generate", {"prompt": "what?", "images": ["eA=="]}, "images", "vision"),
        ("/v1/tokenize", {"messages": IMAGE_URL}, "messages[0].content", "vision"),
    ],
)
def test_the_error_names_the_place_and_the_model(
    served: Served, path: str, fields: dict[str, Any], place: str, lacks: str
) -> None:
    body = {"model": "fake", "max_tokens": 5, **fields}
    response = httpx.post(f"{served.url}{path}", json=body)

    assert response.status_code == 400
    error = response.json()["error"]
    told = error if isinstance(error, str) else error["message"]
    assert told.startswith(f"{place} contains ")
    assert f"fake has no {lacks} support here" in told
