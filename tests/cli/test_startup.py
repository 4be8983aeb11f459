"""What starting the program loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from localrun import __version__

HEAVY = {
    "asyncio", "fastapi", "httpx", "huggingface_hub", "jinja2", "llama_cpp", "modelscope",
    "msgpack", "numpy", "platformdirs", "prompt_toolkit", "psutil", "pydantic", "rich",
    "starlette", "uvicorn",
}  # fmt: skip
LOADED = "print('\\n'.join(sys.modules))"
VERSION = """
import sys
from localrun.cli.app import app
try:
    app(["--version"])
except SystemExit:
    pass
"""


@pytest.mark.parametrize("code", ["import sys, localrun.cli.app\n", VERSION])
def test_neither_the_commands_nor_the_version_load_anything_heavy(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code + LOADED], check=True, capture_output=True, text=True
    )
    modules = set(done.stdout.split())

    assert "localrun.cli.app" in modules
    assert HEAVY.isdisjoint(modules)
    assert "http.client" not in modules


@pytest.mark.parametrize("command", [["-m", "localrun", "--version"], ["-c", VERSION]])
def test_the_version_is_printed(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)

    assert done.stdout == f"localrun {__version__}\n"
