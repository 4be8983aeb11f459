"""What starting the program loads."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from localrun import __version__
from tests.fakes.hub import fake_hub
from tests.services.making import gguf

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {
    "asyncio", "fastapi", "httpx", "httpx2", "huggingface_hub", "jinja2", "llama_cpp",
    "modelscope", "modelscope_hub", "msgspec", "numpy", "platformdirs", "prompt_toolkit",
    "psutil", "pydantic", "requests", "rich", "starlette", "uvicorn",
}  # fmt: skip

CONVERTER = "localrun.chat.gotemplate.converter"
LOADED = "print('\\n'.join(sys.modules))"
VERSION = """
import sys
from localrun.cli.app import app
try:
    app(["--version"])
except SystemExit:
    pass
"""


COMMAND = """
import sys
from localrun.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code
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


def test_neither_a_pull_nor_a_list_load_anything_heavy(tmp_path: Path) -> None:
    with fake_hub() as hub:
        hub.add("owner/model", {"model-Q8_0.gguf": gguf(1)})
        environ = os.environ | {"HF_ENDPOINT": hub.url, "LOCALRUN_MODELS": str(tmp_path)}
        for command in (["pull", "hf.co/owner/model:Q8_0"], ["list"]):
            done = subprocess.run(
                [sys.executable, "-c", COMMAND + LOADED, *command],
                env=environ, check=True, capture_output=True, text=True,
            )  # fmt: skip
            modules = set(done.stdout.split())

            assert "hf.co/owner/model:Q8_0" in modules  # both name it
            assert HEAVY.isdisjoint(modules)
            assert CONVERTER not in modules
            assert ("http.client" in modules) == (command[0] == "pull")


@pytest.mark.parametrize("command", [["-m", "localrun", "--version"], ["-c", VERSION]])
def test_the_version_is_printed(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)

    assert done.stdout == f"localrun {__version__}\n"
