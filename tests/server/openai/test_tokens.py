from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.server.serving import Served

HELLO = [{"role": "user", "content": "hé"}]


def post(served: Served, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{served.url}/v1/{path}", json={"model": "fake", **body})


@pytest.mark.parametrize("field", ["prompt", "content", "text"])
def test_a_text_becomes_tokens_and_they_a_text(served: Served, field: str) -> None:
    found = post(served, "tokenize", **{field: "hé"}).json()
    back = post(served, "detokenize", tokens=found["tokens"]).json()

    assert found == {"count": 2, "max_model_len": 2048, "tokens": [104, 233]}
    assert back == {"prompt": "hé", "content": "hé"}


def test_the_texts_of_tokens_come_on_request(served: Served) -> None:
    assert post(served, "tokenize", prompt="hé", with_pieces=True).json()["token_strs"] == [
        "h",
        "é",
    ]


def test_messages_become_a_prompt(served: Served) -> None:
    assert post(served, "apply-template", messages=HELLO).json() == {"prompt": "hé", "count": 2}
    assert post(served, "tokenize", messages=HELLO).json()["tokens"] == [104, 233]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("tokenize", {}, "prompt"),
        ("tokenize", {"prompt": 3}, "prompt"),
        ("tokenize", {"text": ["x"]}, "text"),
        ("tokenize", {"messages": [{"role": "king"}]}, "messages[0].role"),
        ("detokenize", {}, "tokens"),
        ("detokenize", {"tokens": ["x"]}, "tokens"),
        ("detokenize", {"tokens": [True]}, "tokens"),
        ("detokenize", {"tokens": [2**40]}, "tokens"),
        ("apply-template", {}, "messages"),
        ("apply-template", {"messages": HELLO, "chat_template_kwargs": 3}, "chat_template_kwargs"),
        ("tokenize", {"model": "", "prompt": "x"}, "model"),
    ],
)
def test_a_wrong_field_is_400_and_named(
    served: Served, path: str, body: dict[str, Any], named: str
) -> None:
    response = post(served, path, **body)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == named


def test_an_unknown_model_is_404(served: Served) -> None:
    assert post(served, "tokenize", model="nosuch", prompt="x").status_code == 404
