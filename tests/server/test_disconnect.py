from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fakes.starting import num_open

if TYPE_CHECKING:
    from tests.server.serving import Served

PATIENCE_S = 5


def wait_until_idle(served: Served) -> float:
    """Return how long it took until no request was open."""
    begun = time.monotonic()
    while num_open(served.pool) and time.monotonic() - begun < PATIENCE_S:
        time.sleep(0.005)
    assert num_open(served.pool) == 0
    return time.monotonic() - begun


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/responses"])
def test_a_client_that_leaves_a_stream_cancels_its_request(served: Served, path: str) -> None:
    asked = [{"role": "user", "content": "hang"}]
    body = {"model": "fake", "messages": asked, "input": asked, "stream": True}
    during = 0
    with httpx.stream("POST", f"{served.url}{path}", json=body, timeout=30) as response:
        for chunk in response.iter_bytes():
            if b"..." in chunk:
                during = num_open(served.pool)
                break  # which closes the connection

    assert during == 1
    assert wait_until_idle(served) < 1


@pytest.mark.parametrize("path", ["/api/chat", "/v1/responses"])
def test_a_client_that_leaves_a_whole_answer_cancels_it_too(served: Served, path: str) -> None:
    asked = [{"role": "user", "content": "hang"}]
    body = {"model": "fake", "messages": asked, "input": asked, "stream": False}

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.url}{path}", content=json.dumps(body), timeout=0.5)

    assert wait_until_idle(served) < 1


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_an_answer_begins_before_its_first_token(served: Served, path: str) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "quiet"}], "stream": True}

    with httpx.stream("POST", f"{served.url}{path}", json=body, timeout=10) as response:
        assert response.status_code == 200

    assert wait_until_idle(served) < 1


def test_a_disconnect_cancels_within_100_ms(served: Served) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hang"}], "stream": True}
    times = []
    for _ in range(3):
        with httpx.stream("POST", f"{served.url}/api/chat", json=body, timeout=30) as response:
            next(response.iter_bytes())
        times.append(wait_until_idle(served))

    assert min(times) < 0.1  # the best, for the machine may be busy
