from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.server import streaming
from tests.fakes.starting import num_open
from tests.measuring import wall_s
from tests.server.serving import posted
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from tests.server.serving import Served


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no sign of life find out by chance that nobody reads it."""
    monkeypatch.setattr(streaming, "QUIET_S", 10 * HANG_S)


def wait_until_idle(served: Served) -> None:
    wait_until(lambda: num_open(served.pool) == 0, poll_s=0.001)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/responses"])
def test_a_client_that_leaves_a_stream_cancels_its_request(served: Served, path: str) -> None:
    asked = [{"role": "user", "content": "hang"}]
    body = {"model": "fake", "messages": asked, "input": asked, "stream": True}
    during = 0
    with httpx.stream("POST", f"{served.url}{path}", json=body) as response:
        for chunk in response.iter_bytes():
            if b"..." in chunk:
                during = num_open(served.pool)
                break  # which closes the connection

    assert during == 1
    wait_until_idle(served)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/responses"])
def test_a_client_that_leaves_a_whole_answer_cancels_it_too(served: Served, path: str) -> None:
    asked = [{"role": "user", "content": "hang"}]
    body = {"model": "fake", "messages": asked, "input": asked, "stream": False}

    with posted(served, path, body):
        wait_until(lambda: num_open(served.pool) == 1)

    wait_until_idle(served)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/tokenize",
        "/v1/detokenize",
        "/v1/apply-template",
        "/tokenize",
        "/v1/messages/count_tokens",
        "/v1/responses/input_tokens",
        "/v1/embeddings",
        "/v1/rerank",
    ],
)
def test_a_client_that_leaves_before_its_one_answer_cancels_the_request(
    served: Served, path: str
) -> None:
    asked = [{"role": "user", "content": "hang"}]
    tokens = list(map(ord, "hang"))
    body = {"model": "fake", "messages": asked, "input": "hang", "tokens": tokens}
    ranked = {"query": "q", "documents": ["hang"]}

    with posted(served, path, body | ranked):
        wait_until(lambda: num_open(served.pool) == 1)

    wait_until_idle(served)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_an_answer_begins_before_its_first_token(served: Served, path: str) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "quiet"}], "stream": True}

    with httpx.stream("POST", f"{served.url}{path}", json=body) as response:
        assert response.status_code == 200

    wait_until_idle(served)


def test_a_disconnect_is_noticed_about_as_soon_as_a_request(served: Served) -> None:
    tries = [begin_and_leave(served) for _ in range(5)]

    begun_s, left_s = (min(times) for times in zip(*tries, strict=True))
    assert left_s < 30 * begun_s  # the best of both, because other programs may interrupt


def begin_and_leave(served: Served) -> tuple[float, float]:
    """Return the time until a stream has begun, and the time until it is cancelled."""
    body = {"model": "fake", "messages": [{"role": "user", "content": "hang"}], "stream": True}
    stack = contextlib.ExitStack()

    def begin() -> None:
        sock = stack.enter_context(posted(served, "/api/chat", body))
        while b"..." not in sock.recv(65536):
            pass

    def leave() -> None:
        stack.close()
        wait_until_idle(served)

    return wall_s(begin), wall_s(leave)
