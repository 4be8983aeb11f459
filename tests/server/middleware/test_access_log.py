from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.access import Access
from localrun.server.middleware.access_log import LOG_FORMAT, RequestFilter, begin_request
from localrun.server.middleware.keys import Keys
from tests.server.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "k3y-that-is-secret"
SECRET = "a-prompt-that-is-secret"  # noqa: S105 - no password


class Log(logging.Handler):
    """Collects lines as the server's log has them."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter(LOG_FORMAT))
        self.addFilter(RequestFilter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("localrun", "uvicorn")):  # the test's own clients log too
            self.lines.append(self.format(record))


@pytest.fixture
def log() -> Iterator[Log]:
    handler, logger = Log(), logging.getLogger()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def chat(served: Served, content: str, **headers: str) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": content}]}
    headers = {"Authorization": f"Bearer {KEY}", **headers}
    return httpx.post(f"{served.url}/api/chat", json=body, headers=headers)


@pytest.mark.parametrize("wanted", [b"", b"a b", b"x\ny", "ü".encode(), b"a" * 129, b"\x1b[31m"])
def test_an_id_that_could_fool_a_reader_of_the_log_is_replaced(wanted: bytes) -> None:
    made = begin_request(wanted)

    assert made.encode() != wanted
    assert made.isalnum()


def test_a_sane_id_is_kept() -> None:
    assert begin_request(b"req_01-a.b:c") == "req_01-a.b:c"


def test_a_request_leaves_lines_with_its_id_and_whose_key_it_was(log: Log) -> None:
    with serving(keys=Keys({"laptop": KEY})) as served:
        told = chat(served, "say hi", **{"X-Request-Id": "my-id"}).headers["x-request-id"]

    own = [line for line in log.lines if "[my-id]" in line]
    assert told == "my-id"
    assert any("loading fake" in line for line in own)
    assert any("POST /api/chat 200 " in line and line.endswith("key laptop") for line in own)


def test_keys_prompts_and_answers_are_in_no_log(log: Log) -> None:
    with serving(keys=Keys({"laptop": KEY})) as served:
        for content in (f"say {SECRET}", f"{SECRET} complain", "complain", "garbage", "die"):
            chat(served, content)
        chat(served, f"say {SECRET}", Authorization=f"Bearer {KEY}x")
        httpx.get(f"{served.url}/v1/models?api_key={KEY}", headers={"X-Api-Key": KEY})

    text = "\n".join(log.lines)
    assert "runner: ggml: assertion failed" in text
    assert KEY not in text
    assert SECRET not in text


def test_prompts_and_answers_are_logged_where_the_owner_asks_for_it(log: Log) -> None:
    with serving(access=Access(logs_prompts=True)) as served:
        chat(served, f"say {SECRET}", **{"X-Request-Id": "my-id"})

    (line,) = [line for line in log.lines if "server.core.transcript" in line]
    told = json.loads(line.partition("transcript [my-id]: ")[2])
    assert told["asked"][-1]["content"] == f"say {SECRET}"
    assert (told["answer"], told["end"]) == (SECRET, "stop")


def test_a_path_writes_no_line_of_its_own(log: Log) -> None:
    with serving() as served:
        httpx.post(f"{served.url}/v1/models/a%0aINFO forged%1b[31m")

    (line,) = [line for line in log.lines if "forged" in line]
    assert "\n" not in line
    assert "\x1b" not in line


def test_what_a_page_asks_all_the_time_is_no_news(log: Log) -> None:
    with serving() as served:
        httpx.post(f"{served.url}/api/localrun/presence", json={})

    (line,) = [line for line in log.lines if "/presence" in line]
    assert " DEBUG " in line
