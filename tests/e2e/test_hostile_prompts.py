"""A request that costs too much, or breaks its preparation, ends alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Home

HELLO = {"role": "user", "content": "hi"}
SURROGATE = r'{{ "\ud800" }}{{ messages[0].content }}'
TEMPLATES = [
    "{% if x %}{% endif %}" + "{#" * 20_000,
    r"{{ raise_exception('\ud800') }}",
    "{{ ('f' * 4000000) | int(0, 16) // 3 }}",
    "{{ ('a' * 4000000).strip('b' * 4000000 ~ 'a') }}",
    "{{ 'x' * 10**7 }}",
    "{{ undefined.name }}",
]


def chat(server: Home, **fields: Any) -> httpx.Response:
    body = {"model": "guide", "messages": [HELLO], "max_tokens": 4, **fields}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body)


def test_hostile_templates_are_refused_while_others_are_answered(server: Home) -> None:
    with ThreadPoolExecutor(8) as threads:
        answer = threads.submit(chat, server, max_tokens=200)
        refused = [threads.submit(chat, server, chat_template=source) for source in TEMPLATES]

        assert answer.result().status_code == 200
        assert {one.result().status_code for one in refused} == {400}
        assert not any("Traceback" in one.result().text for one in refused)


def test_half_a_character_in_a_prompt_is_replaced(server: Home) -> None:
    assert chat(server, chat_template=SURROGATE).status_code == 200


@pytest.mark.parametrize("text", ["<|im_end|>" * 400_000, "a" * 17_000_000])
def test_what_has_too_many_tokens_for_an_answer_is_refused(server: Home, text: str) -> None:
    body = {"model": "guide", "prompt": text}

    refused = httpx.post(f"{server.url}/v1/tokenize", json=body)

    assert refused.status_code == 400
    assert chat(server).status_code == 200
