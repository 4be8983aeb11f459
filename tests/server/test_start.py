"""What a server imports until its first answer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.waiting import HANG_S

ROOT = Path(__file__).parents[2]
NEVER = {
    "click", "fastapi", "huggingface_hub", "jinja2", "llama_cpp", "numpy", "opentelemetry",
    "latex2mathml", "localrun.server.rendering.routes", "localrun.server.web.files", "markdown_it",
    "prompt_toolkit", "pydantic", "pygments", "requests", "rich", "typer.rich_utils", "urllib3",
    "uvicorn.main",
}  # fmt: skip
OF_RUNNERS = {"msgspec", "psutil", "localrun.runner.messages", "localrun.supervisor.pool"}
OF_MODELS = {"localrun.gguf.header", "localrun.services.models", "localrun.store.store"}
SERVE = ["-m", "localrun", "serve"]
WITH_FAKE_RUNNER = ["-m", "tests.fakes.server_program", "/nowhere"]
CHAT: dict[str, Any] = {
    "model": "guide",
    "messages": [{"role": "user", "content": "say hi"}],
    "stream": False,
}


def imported(program: list[str], method: str, path: str, body: dict[str, Any] | None) -> list[str]:
    """Return the modules that a server has imported when it has answered one request, in order."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *program],
        cwd=ROOT,
        env=os.environ | {"LOCALRUN_WARM": "0", "LOCALRUN_HOST": "127.0.0.1:0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    url = None
    try:
        while url is None:
            lines.append(process.stderr.readline())
            assert lines[-1], lines
            url = re.search(r"http://127\S+", lines[-1])
        answer = httpx.request(method, url.group() + path, json=body, timeout=HANG_S)
        assert answer.status_code == 200, answer.text
    finally:
        process.kill()
        lines += process.communicate()[1].splitlines()
    return [line.rpartition("|")[2].strip() for line in lines if "import time:" in line]


@pytest.mark.parametrize(
    ("program", "method", "path", "body", "banned"),
    [
        (SERVE, "GET", "/api/version", None, OF_RUNNERS | OF_MODELS),
        (SERVE, "GET", "/healthz", None, OF_RUNNERS | OF_MODELS),
        (SERVE, "GET", "/v1/models", None, OF_RUNNERS),
        (SERVE, "GET", "/api/tags", None, OF_RUNNERS),
        (WITH_FAKE_RUNNER, "POST", "/v1/chat/completions", CHAT, set()),
        (WITH_FAKE_RUNNER, "POST", "/api/chat", CHAT, {"localrun.server.openai.routes"}),
    ],
)
def test_a_first_answer_imports_what_it_needs(
    program: list[str], method: str, path: str, body: dict[str, Any] | None, banned: set[str]
) -> None:
    modules = set(imported(program, method, path, body))

    assert "localrun.server.app" in modules
    assert (NEVER | banned) & modules == set()


def test_the_document_alone_imports_fastapi() -> None:
    modules = imported(WITH_FAKE_RUNNER, "GET", "/openapi.json", None)

    assert "fastapi" in modules
    assert "localrun.server.openapi.document" in modules
