"""A chat goes on after a restart of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from localrun.store.prompt_file import HEADER
from tests.e2e.conftest import Home, make_home
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESTIONS = [f"How do I download model number {number}?" for number in range(5)]
SYSTEM = "You help people to run models on their own machines. Answer in one sentence."


def turns(home: Home, chat: list[dict[str, str]], questions: list[str]) -> Iterator[dict[str, Any]]:
    for question in questions:
        chat.append({"role": "user", "content": question})
        body = {"model": "guide", "messages": chat, "temperature": 0, "max_tokens": 24}
        answer = httpx.post(f"{home.url}/v1/chat/completions", json=body).json()
        chat.append(answer["choices"][0]["message"])
        yield answer


def cached_tokens(answer: dict[str, Any]) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def saved_tokens(folder: Path) -> int:
    """Return how many tokens of a prompt are saved."""
    heads = [path.read_bytes()[: HEADER.size] for path in (folder / "cache").rglob("*.prompt")]
    ends = [start + count for _, start, count, *_ in map(HEADER.unpack, heads)]
    return max(ends, default=0)


def test_yesterdays_chat_goes_on_without_a_prefill(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    assert home.run("run", "guide", "hi").returncode == 0
    chat = [{"role": "system", "content": SYSTEM}]
    last = list(turns(home, chat, QUESTIONS[:4]))[-1]
    before = [*chat]
    usage = last["usage"]  # its last token was drawn, and not computed
    wait_until(lambda: saved_tokens(tmp_path) >= usage["total_tokens"] - 1)
    home.run("stop", "--server")

    assert home.run("run", "guide", "hi").returncode == 0
    (resumed,) = turns(home, chat, QUESTIONS[4:])
    home.run("stop", "--server")
    home.run("prune")
    home.environ["LOCALRUN_PROMPT_CACHE"] = "0"
    assert home.run("run", "guide", "hi").returncode == 0
    (anew,) = turns(home, before, QUESTIONS[4:])
    home.run("stop", "--server")

    assert cached_tokens(resumed) >= last["usage"]["prompt_tokens"]  # as in a server that stayed
    assert cached_tokens(anew) < 5  # what it shares with "hi"
    assert resumed["choices"][0]["message"] == anew["choices"][0]["message"]
    assert list((tmp_path / "cache").rglob("*.prompt")) == []
