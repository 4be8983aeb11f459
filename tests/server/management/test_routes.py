"""Plans, searches, checks, machine and log over HTTP; jobs run in their real child processes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.logs import HarmlessFormatter
from localrun.server.log_file import RECENT_LINES, RecentLog, recent_lines
from localrun.server.middleware.access_log import LOG_FORMAT, RequestFilter

if TYPE_CHECKING:
    from tests.server.serving import Served

PRIVATE = ("doctor", "machine", "log")


def url(served: Served, path: str) -> str:
    return f"{served.url}/api/localrun/{path}"


def test_a_plan_says_whether_a_model_fits(served: Served) -> None:
    plan = httpx.get(url(served, "plan"), params={"model": "guide", "ctx": "256"}).json()

    assert plan["summary"].startswith("fits: on the processor, ")
    assert "context of 256 tokens" in plan["summary"]
    assert plan["fits"] is True
    assert plan["draft"] is None
    assert plan["devices"][0]["device"] == "CPU"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("plan?model=guide&ctx=0", 400),
        ("plan?model=guide&ctx=x", 400),
        ("plan", 400),
        ("search", 400),
        ("search?text=a&limit=1000", 400),
    ],
)
def test_a_wrong_query_is_refused(served: Served, path: str, status: int) -> None:
    assert httpx.get(url(served, path)).status_code == status


def test_a_search_fails_with_the_error_of_the_job(served: Served) -> None:
    answer = httpx.get(url(served, "search"), params={"text": "a"})

    assert answer.status_code >= 400
    assert answer.json()["error"]


def test_a_recipe_is_checked_without_a_look_at_the_disk(served: Served) -> None:
    text = "FROM /etc/passwd\nADAPTER ./x.gguf\nPARAMETER temprature 1\nTEMPLATE {{"
    answer = httpx.post(url(served, "lint"), json={"modelfile": text})

    problems = [(one["line"], one["code"]) for one in answer.json()["problems"]]
    assert problems == [
        (1, "path"),
        (2, "path"),
        (3, "unknown-parameter"),
        (4, "bad-template"),
    ]
    assert httpx.post(url(served, "lint"), json={}).status_code == 400


def test_the_machine_has_its_memory(served: Served) -> None:
    (processor,) = httpx.get(url(served, "machine")).json()["devices"]

    assert processor["device"] == "CPU"
    assert 0 < processor["free_bytes"] <= processor["total_bytes"]


def test_the_checks_are_those_of_the_command(served: Served) -> None:
    findings = httpx.get(url(served, "doctor")).json()["findings"]

    assert {"store", "disk", "memory"} <= {finding["what"] for finding in findings}


@pytest.mark.parametrize("path", PRIVATE)
def test_other_pages_learn_nothing_of_the_machine(served: Served, path: str) -> None:
    other = {"origin": "http://localhost:3000"}

    assert httpx.get(url(served, path), headers=other).status_code == 403


def test_the_log_has_its_last_lines() -> None:
    handler = RecentLog()
    handler.setFormatter(HarmlessFormatter(LOG_FORMAT))
    handler.addFilter(RequestFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        for number in range(RECENT_LINES + 1):
            logging.getLogger("test").warning("line %s \x1b[31m", number)
        lines = recent_lines()
    finally:
        root.removeHandler(handler)

    assert len(lines) == RECENT_LINES
    assert "line 1 " in lines[0]
    assert "\x1b" not in "".join(lines)
