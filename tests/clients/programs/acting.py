"""What every client is asked to do, and how a program tells what came of it.

A program drives one client against the server at LOCALRUN_URL. It prints one JSON object
with the outcome of each act, or with the error that it ended in:

    {"chat": {"value": "7 + 5 = 12."}, "tools": {"error": "APIError: ..."}}

Programs run by whatever Python their client is installed in, so they import nothing of ours
but this, and are named so that they hide no package.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import traceback
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

URL = os.environ.get("LOCALRUN_URL", "")
MODEL, EMBEDDER, ENDLESS, UNKNOWN = "guide", "encoder", "endless", "nosuch"
QUESTION = "What is 7 + 5?"
PROMPT = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"  # as guide has it
WEATHER_QUESTION = "What is the weather in Oslo?"
WEATHER = "sunny, 21 degrees"
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo", "Bergen"]}},
    "required": ["city"],
}
SUM: dict[str, Any] = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}, "sure": {"type": "boolean"}},
    "required": ["sum", "sure"],
    "additionalProperties": False,
}
TEXTS = ["a rainbow", "a horse"]
# PNG files in base64 that guide recognizes: the digit 7, and plain blue
SEVEN, BLUE = os.environ.get("LOCALRUN_SEVEN", ""), os.environ.get("LOCALRUN_BLUE", "")
PICTURE_QUESTION, COLOUR = "What is this + 4?", "My favourite colour is this."
PATIENCE_S = 60
CANCELLED = re.compile(r'localrun_answers_total\{.*end="cancelled".*\} (\d+)')


def act(**acts: Callable[[], object]) -> None:
    """Do each act, and print what came of them; one that fails does not keep others off."""
    json.dump({name: _outcome(do) for name, do in acts.items()}, sys.stdout)


def cancelled(leave: Callable[[], object]) -> bool:
    """Return whether the server counts a cancelled answer after somebody has left."""
    before = _num_cancelled()
    leave()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if _num_cancelled() > before:
            return True
        time.sleep(0.02)
    return False


def seen(ask: Callable[[str, str], object]) -> list[object]:
    """Return the answers to a question about the digit, and to one about the colour."""
    return [ask(PICTURE_QUESTION, SEVEN), ask(COLOUR, BLUE)]


def failure(ask: Callable[[], object]) -> dict[str, object]:
    """Return what a client makes of an error of the server."""
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - each client has its own
        status = getattr(error, "status_code", None)
        return {"type": type(error).__name__, "status": status, "message": str(error)}
    return {}


def _outcome(do: Callable[[], object]) -> dict[str, object]:
    try:
        return {"value": do()}
    except Exception as error:  # noqa: BLE001 - told to the test
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def _num_cancelled() -> int:
    with urllib.request.urlopen(f"{URL}/metrics") as answer:  # noqa: S310 - our own server
        return sum(map(int, CANCELLED.findall(answer.read().decode())))
