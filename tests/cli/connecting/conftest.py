"""A fake server with a few models, and a home of its own for the files of tools."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import PROGRAM
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.fake_server import FakeServer

Done = subprocess.CompletedProcess[str]
AGENT, SMALL, FILLER, EMBEDDER = "agent:8b", "small:latest", "coder:1b", "embedder:latest"
TOOL = """\
#!{python}
import json, os, sys
names = ("LOCALRUN", "ANTHROPIC", "OPENAI")
print(json.dumps({{
    "arguments": sys.argv[1:],
    "environment": {{n: v for n, v in os.environ.items() if n.startswith(names)}},
}}))
sys.exit({code})
"""


def model(name: str, capabilities: list[str], context: int, size: int) -> dict[str, Any]:
    details = {"context_length": context}
    return {"name": name, "capabilities": capabilities, "size": size, "details": details}


@dataclass(frozen=True)
class ToolHome:
    """A home folder, and commands that run in it."""

    path: Path
    environ: dict[str, str]

    def run(self, *arguments: str, stdin: str = "", **environ: str) -> Done:
        return subprocess.run(
            [*PROGRAM, *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            env=self.environ | environ,
            timeout=HANG_S,
        )

    def install(self, program: str, *, code: int = 0, text: str | None = None) -> None:
        """Put a program on the path that prints how it was started."""
        path = self.path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(text or TOOL.format(python=sys.executable, code=code))
        path.chmod(0o755)


@pytest.fixture
def tool_home(server: FakeServer, tmp_path: Path) -> ToolHome:
    server.script.models = [
        model(AGENT, ["completion", "tools"], 131072, 8_000_000_000),
        model(SMALL, ["completion"], 2048, 1_000_000),
        model(FILLER, ["completion", "insert"], 32768, 2_000_000),
        model(EMBEDDER, ["embedding"], 512, 3_000_000),
    ]
    home = tmp_path / "home"
    home.mkdir()
    environ = {
        **server.environment(tmp_path),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "LOCALRUN_MODELS": str(tmp_path / "models"),
        "LOCALRUN_CACHE": str(tmp_path / "cache"),
        "LOCALRUN_OFFLINE": "1",
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    for variable in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "LOCALRUN_API_KEY"):
        environ.pop(variable, None)
    return ToolHome(home, environ)
