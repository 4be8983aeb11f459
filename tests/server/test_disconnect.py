from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.server.serving import Served

PATIENCE_S = 5


def wait_until_idle(served: Served) -> float:
    """Return how long it took until no request was open."""
    begun = time.monotonic()
    while served.pool.num_open and time.monotonic() - begun < PATIENCE_S:
        time.sleep(0.005)
    assert served.pool.num_open == 0
    return time.monotonic() - begun


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_a_client_that_leaves_a_stream_cancels_its_request(served: Served, path: str) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hang"}], "stream": True}
    with httpx.stream("POST", f"{served.url}{path}", json=body, timeout=30) as response:
        for chunk in response.iter_bytes():
            if b"..." in chunk:
                break
        during = served.pool.num_open

    assert during == 1
    assert wait_until_idle(served) < 1


def test_a_client_that_leaves_a_whole_answer_cancels_it_too(served: Served) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hang"}], "stream": False}

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.url}/api/chat", content=json.dumps(body), timeout=0.5)

    assert wait_until_idle(served) < 1
