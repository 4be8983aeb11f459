"""Slashes that separate nothing change nothing, for no reader of a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.server.middleware.keys import Keys
from localrun.server.middleware.paths import normalized
from tests.server.serving import serving

if TYPE_CHECKING:
    from tests.server.serving import Served


@pytest.mark.parametrize("path", ["/v1/models/", "//v1/models", "/v1//models", "/v1/models///"])
def test_a_slash_too_many_is_none(served: Served, path: str) -> None:
    response = httpx.get(f"{served.url}{path}")

    assert response.status_code == 200
    assert response.json()["object"] == "list"


@pytest.mark.parametrize("path", ["/v1/chat/completions/", "//api/chat", "/v1//messages"])
def test_a_body_is_not_sent_elsewhere(served: Served, path: str) -> None:
    messages = [{"role": "user", "content": "say x"}]
    body = {"model": "fake", "messages": messages, "max_tokens": 5, "stream": False}

    assert httpx.post(f"{served.url}{path}", json=body).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/v1/models/fake", "/api/tags", "/api/ps", "/api/version"]
)
def test_the_head_of_what_can_be_got_can_be_asked_for(served: Served, path: str) -> None:
    head, whole = httpx.head(f"{served.url}{path}"), httpx.get(f"{served.url}{path}")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


def test_a_key_is_asked_for_whatever_the_slashes() -> None:
    with serving(keys=Keys({"me": "secret"})) as locked:
        codes = [httpx.get(f"{locked.url}{path}").status_code for path in ("//v1/models/", "//")]
        healthy = httpx.get(f"{locked.url}/healthz/").status_code

    assert codes == [401, 401]
    assert healthy == 200


def test_the_root_stays() -> None:
    assert [normalized(path) for path in ("", "/", "//", "/a/", "/a//b")] == [
        "/",
        "/",
        "/",
        "/a",
        "/a/b",
    ]


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/models", "/v1/models"),
        ("/v1/api/tags", "/api/tags"),
    ],
)
def test_who_is_beside_the_path_is_told_the_right_one(
    served: Served, path: str, right: str
) -> None:
    response = httpx.get(f"{served.url}{path}")

    assert response.status_code == 404
    assert f"ask for {right}" in response.text
