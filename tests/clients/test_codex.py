"""Codex, OpenAI's agent: it speaks /v1/responses alone, and begins with 10,000 tokens."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import acting
import pytest

from tests.clients.conftest import GUIDE, fetched
from tests.server.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Home

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

CONFIG = """\
model = "{model}"
model_provider = "localrun"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.localrun]
name = "localrun"
base_url = "{url}/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""
CALL = (
    '<tool_call>{"name": "exec_command", "arguments": {"cmd": "echo one-$((1 + 1))"}}</tool_call>'
)
LENGTH_KEY = b"qwen3.context_length"
LONG = 24576
LONG_PROMPT = 8000
STRETCHED = """\
FROM {file}
PARAMETER num_ctx {length}
PARAMETER temperature 0
PARAMETER stop a
PARAMETER stop e
PARAMETER stop i
"""


def codex(folder: Path, url: str, model: str, question: str) -> subprocess.CompletedProcess[str]:
    """Return what ``codex exec`` does in a folder that is its home, too."""
    program = fetched("node") / "node_modules" / ".bin" / "codex"
    (folder / "config.toml").write_text(CONFIG.format(model=model, url=url))
    words = ("exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", question)
    return subprocess.run(
        [program, *words],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=os.environ | {"HOME": str(folder), "CODEX_HOME": str(folder)},
        timeout=200,
    )


def test_it_calls_a_tool_and_tells_the_result(tmp_path: Path) -> None:
    """The fake model calls, and then repeats what it was told last."""
    with serving() as served:
        done = codex(tmp_path, served.url, "fake", f"say {CALL}")

    assert done.returncode == 0, done.stderr
    assert "one-2" in done.stdout


def test_its_long_prompt_is_answered(home: Home, tmp_path: Path) -> None:
    """A model of so few parameters says nothing of use to that, so its first vowel ends it."""
    made = home.run("create", "stretched", "-f", "-", stdin=stretched(tmp_path / "model.gguf"))
    assert made.returncode == 0, made.stderr

    done = codex(tmp_path, home.url, "stretched", acting.QUESTION)

    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
    assert num_tokens(done.stderr) > LONG_PROMPT


def test_it_is_told_that_a_prompt_is_too_long(home: Home, tmp_path: Path) -> None:
    done = codex(tmp_path, home.url, acting.MODEL, acting.QUESTION)

    assert done.returncode != 0
    assert "context" in done.stderr


def num_tokens(told: str) -> int:
    return int(told.rpartition("tokens used\n")[2].split()[0].replace(",", ""))


def stretched(path: Path, length: int = LONG) -> str:
    """Write guide as if it had been trained on long prompts; return a recipe for it."""
    model = bytearray(GUIDE.read_bytes())
    number = model.index(LENGTH_KEY) + len(LENGTH_KEY) + 4  # after the number's type
    model[number : number + 4] = length.to_bytes(4, "little")
    path.write_bytes(model)
    return STRETCHED.format(file=path, length=length)
