"""``scripts/eval-guide``: how often guide is right on wordings that training never saw.

Asks the model that the checkout's localrun serves, over its HTTP API at
temperature 0, so that the figure is about what a user gets. ``--write`` keeps the
figures in ``figures.json``, from where the exporter puts them into the model's
metadata.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guide import corpus
from guide.pictures import split as split_pictures
from guide.pictures import words_in
from guide.sample import Split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guide.sample import Sample

FIGURES = Path(__file__).with_name("figures.json")
PAGE = Path(__file__).parents[2] / "localrun" / "docs" / "guide.md"
REQUIRED = ("localrun", "arithmetic", "capitals", "memory", "tools", "json", "persona")
REQUIRED_SHARE = 0.9
CALL_KEYS = ("name", "arguments")
SEED = 99
PARALLEL = 16
START_TIMEOUT_S = 60


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit 1 when a required skill is below `REQUIRED_SHARE`."""
    options = _parser().parse_args(arguments)
    with served() as address:
        figures = {
            skill: evaluate(skill, options.count, address, show_wrong=options.show_wrong)
            for skill in options.skills or corpus.WEIGHTS
        }
    for skill, share in figures.items():
        is_low = skill in REQUIRED and share < REQUIRED_SHARE
        print(f"{skill:12} {share:6.1%}{'   too low' if is_low else ''}")
    if options.write:
        FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
        write_table(PAGE, "eval", f"skill ({options.count} held-out samples each)", figures)
    return int(any(figures.get(skill, 1.0) < REQUIRED_SHARE for skill in REQUIRED))


def evaluate(skill: str, count: int, address: str, *, show_wrong: int = 0) -> float:
    """Return the share of right replies to ``count`` held-out samples of a skill."""
    samples = list(corpus.skill_samples(skill, SEED, Split.HELD_OUT, count))
    with ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(lambda sample: ask(sample, address), samples))
    wrong = [(s, r) for s, r in zip(samples, replies, strict=True) if not s.check.passes(r)]
    for sample, reply in wrong[:show_wrong]:
        print(f"[{skill}] {sample.messages[-2]['content']!r}")
        print(f"    said   {reply!r}\n    wanted {sample.check}")
    return 1 - len(wrong) / count


def write_table(page: Path, name: str, title: str, figures: dict[str, float]) -> None:
    """Put the figures between the marks of a table of a page."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    rows = [f"| {kind} | {share:.1%} |" for kind, share in figures.items()]
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2]
    table = "\n".join([begin, f"| {title} | right |", "|---|---|", *rows, end])
    page.write_text(before + table + after)


def ask(sample: Sample, address: str) -> str:
    """Return the reply as the model wrote it, tool calls put back into their tags."""
    if any(words_in(message["content"]) for message in sample.messages[:-1]):
        return _ask_about_pictures(sample, address)
    body = {
        "model": "guide",
        "messages": [_plain(message) for message in sample.messages[:-1]],
        "tools": list(sample.tools),
        "think": sample.enable_thinking,
        "stream": False,
        "options": {"temperature": 0, "num_predict": 256},
    }
    message = _post(f"http://{address}/api/chat", body)["message"]
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    calls = [
        f"<tool_call>\n{json.dumps({key: function[key] for key in CALL_KEYS})}\n</tool_call>"
        for function in functions
    ]
    return "\n".join([*([message["content"]] if message["content"] else []), *calls])


def _ask_about_pictures(sample: Sample, address: str) -> str:
    """Return the reply to drawings of the words that the sample marks, by OpenAI's API."""
    rng = random.Random(str(sample.messages))
    body = {
        "model": "guide",
        "messages": [
            {**message, "content": _parts(rng, message["content"])}
            for message in sample.messages[:-1]
        ],
        "reasoning_effort": "low" if sample.enable_thinking else "none",
        "temperature": 0,
        "max_tokens": 256,
    }
    reply: str = _post(f"http://{address}/v1/chat/completions", body)["choices"][0]["message"][
        "content"
    ]
    return reply


def _parts(rng: random.Random, content: str) -> list[dict[str, Any]]:
    """Return texts and pictures in the order of the content."""
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(split_pictures(content)):
        if index % 2:
            parts.append({"type": "image_url", "image_url": {"url": _drawn(rng, part)}})
        elif part:
            parts.append({"type": "text", "text": part})
    return parts


def _drawn(rng: random.Random, word: str) -> str:
    """Return a held-out drawing of a word as a data URL."""
    from guide.eyes import drawings

    file = io.BytesIO()
    drawings.draw(rng, word, Split.HELD_OUT).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Run the checkout's ``localrun serve`` on a free port and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    program = Path(sys.executable).with_name("localrun")
    server = subprocess.Popen(
        [program, "serve"], env={**os.environ, "LOCALRUN_HOST": address}, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_up(address)
        yield address
    finally:
        server.terminate()
        server.wait()


def _wait_until_up(address: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}/healthz"):
                return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """Name the thought of an assistant's message as Ollama's API does."""
    renamed = dict(message)
    if "reasoning_content" in renamed:
        renamed["thinking"] = renamed.pop("reasoning_content")
    return renamed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/eval-guide", description=__doc__)
    parser.add_argument("skills", nargs="*", help="only these")
    parser.add_argument("--count", type=int, default=300, help="held-out samples of each skill")
    parser.add_argument(
        "--show-wrong", type=int, default=0, metavar="N", help="print N wrong replies of each skill"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the figures, for the model and its page"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
