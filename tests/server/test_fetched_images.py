"""Images behind addresses, in every API: refused by name, or fetched once from a public address."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.registry import addressed
from localrun.server.core import media
from tests.registry.scripted import http, scripted
from tests.registry.test_addressed import answering
from tests.server import serving as module
from tests.server.serving import FakeCatalogue, serving
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from tests.server.serving import Served

URL = "http://images.example/a.png"
PUBLIC = "93.184.216.34"


class SeeingCatalogue(FakeCatalogue):
    """One model, which sees."""

    def __init__(self, file: str = "fake.gguf") -> None:
        super().__init__(file)
        details = replace(self.model.details, capabilities=("completion", "vision"))
        self.model = replace(self.model, details=details)


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(module, "FakeCatalogue", SeeingCatalogue)
    return monkeypatch


@pytest.fixture
def served(patch: pytest.MonkeyPatch) -> Iterator[Served]:  # noqa: ARG001 - the model sees
    with serving(fetched_hosts=("images.example", "inside.example")) as found:
        yield found


def bodies(url: str) -> dict[str, dict[str, Any]]:
    """Return a request of each API that names an image."""
    openai = {"type": "image_url", "image_url": {"url": url}}
    anthropic = {"type": "image", "source": {"type": "url", "url": url}}
    responses = {"type": "input_image", "image_url": url}
    found: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": [openai]}]},
        "/v1/messages": {"messages": [{"role": "user", "content": [anthropic]}], "max_tokens": 9},
        "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": [anthropic]}]},
        "/v1/responses": {"input": [{"role": "user", "content": [responses]}]},
        "/api/chat": {"messages": [{"role": "user", "content": "x", "images": [url]}]},
    }
    return {path: {"model": "fake", "stream": False, **body} for path, body in found.items()}


def post(served: Served, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{served.url}{path}", json=body)


def connect_to(patch: pytest.MonkeyPatch, url: str) -> list[tuple[str, int]]:
    """Let connections to public addresses reach a server of this machine, and return them."""
    port, connected = int(url.rpartition(":")[2]), list[tuple[str, int]]()

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address)
        found = socket.socket()
        found.connect(("127.0.0.1", port))
        return found

    def resolve(host: str, *rest: Any, **more: Any) -> Any:
        names = {"images.example": PUBLIC, "inside.example": "10.0.0.1"}
        return real(names.get(host, host), *rest, **more)

    real = socket.getaddrinfo
    patch.setattr(socket, "getaddrinfo", resolve)
    patch.setattr("localrun.registry.public.create_connection", connect)
    return connected


@pytest.mark.parametrize("path", bodies(URL))
def test_a_listed_host_is_asked(served: Served, patch: pytest.MonkeyPatch, path: str) -> None:
    with scripted(http("200 OK", b"\x89PNG\r\n\x1a\n")) as images:
        connected = connect_to(patch, images.url)

        answer = post(served, path, bodies(URL)[path])

    assert answer.status_code == 200, answer.text
    assert connected == [(PUBLIC, 80)]
    assert [request.split()[1] for request in images.requests] == ["/a.png"]


@pytest.mark.parametrize("path", bodies(URL))
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://other.example/a.png", "LOCALRUN_FETCH_IMAGES"),
        ("http://inside.example/a.png", "no public address"),
        ("file:///etc/passwd", "which the server never opens"),
    ],
)
def test_others_are_refused(
    served: Served, patch: pytest.MonkeyPatch, path: str, url: str, problem: str
) -> None:
    connected = connect_to(patch, served.url)

    answer = post(served, path, bodies(url)[path])

    assert answer.status_code == 400
    assert problem in answer.text
    assert connected == []


def test_answers_to_one_prompt_fetch_its_image_together(
    served: Served, patch: pytest.MonkeyPatch
) -> None:
    with scripted(http("200 OK", b"\x89PNG\r\n\x1a\n")) as images:
        connect_to(patch, images.url)
        body = bodies(URL)["/v1/chat/completions"]

        answer = post(served, "/v1/chat/completions", {**body, "n": 8})

    assert answer.status_code == 200, answer.text


def test_what_comes_is_checked_by_its_content(served: Served, patch: pytest.MonkeyPatch) -> None:
    with scripted(http("200 OK", b"RIFF0000WAVE")) as images:
        connect_to(patch, images.url)

        answer = post(served, "/v1/chat/completions", bodies(URL)["/v1/chat/completions"])

    assert answer.status_code == 400
    assert "no audio support" in answer.json()["error"]["message"]


def test_a_model_that_does_not_see_has_nothing_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(fetched_hosts=("1",)) as blind:
        connected = connect_to(monkeypatch, blind.url)

        answer = post(blind, "/v1/chat/completions", bodies(URL)["/v1/chat/completions"])

    assert answer.status_code == 400
    assert "no vision support" in answer.json()["error"]["message"]
    assert connected == []


def sees(served: Served, **more: Any) -> httpx.Response:
    body = bodies(URL)["/v1/chat/completions"]
    return post(served, "/v1/chat/completions", {**body, **more})


@pytest.mark.parametrize(
    ("path", "more"),
    [("/v1/chat/completions", {"n": 64}), ("/v1/messages/count_tokens", {})],
)
def test_a_slow_address_keeps_no_other_request_waiting(
    served: Served, patch: pytest.MonkeyPatch, path: str, more: dict[str, Any]
) -> None:
    with answering(repeat(b"")) as (url, asked, left):
        connect_to(patch, url)
        slow = bodies(URL)[path] | more
        with socket.create_connection(("127.0.0.1", port_of(served))) as client:
            client.sendall(raw(path, slow))
            assert asked.wait(HANG_S)

            text = {"messages": [{"role": "user", "content": "hello"}]}
            answer = sees(served, **text)

            assert answer.status_code == 200, answer.text
            assert not left.is_set()
        assert left.wait(HANG_S)


@pytest.mark.parametrize(
    ("limits", "name", "problem"),
    [
        (addressed, "LONGEST_S", "cannot be fetched: the file takes more than"),
        (media, "LONGEST_TOGETHER_S", "and the media before it take more than"),
    ],
)
def test_an_address_that_takes_too_long_is_an_error(
    served: Served, patch: pytest.MonkeyPatch, limits: ModuleType, name: str, problem: str
) -> None:
    patch.setattr(limits, name, 0.2)
    with answering(repeat(b"HTTP/1.1 100 Continue\r\n\r\n")) as (url, _, left):
        connect_to(patch, url)

        answer = sees(served)

        assert answer.status_code == 400
        assert problem in answer.json()["error"]["message"]
        assert left.wait(HANG_S)


@pytest.mark.parametrize(("num_answers", "limit"), [(1, "MAX_BODY_BYTES"), (4, "MAX_COPIED")])
def test_what_is_fetched_together_is_bounded(
    served: Served, patch: pytest.MonkeyPatch, num_answers: int, limit: str
) -> None:
    patch.setattr(media, limit, 3000 * num_answers)
    part = bodies(URL)["/v1/chat/completions"]["messages"][0]["content"][0]
    with scripted(http("200 OK", b"\x89PNG\r\n\x1a\n" + bytes(1000))) as images:
        connect_to(patch, images.url)
        two, three = (
            sees(served, n=num_answers, messages=[{"role": "user", "content": [part] * count}])
            for count in (2, 3)
        )

    assert two.status_code == 200, two.text
    assert three.status_code == 400
    assert three.json()["error"]["param"] == "messages[0].content[2].image_url.url"
    assert "have more than" in three.json()["error"]["message"]


def port_of(served: Served) -> int:
    return int(served.url.rpartition(":")[2])


def raw(path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content
