"""What starting must not import: steadier than a limit of time."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "asyncio",
    "fastapi",
    "http.client",
    "huggingface_hub",
    "httpx",
    "jinja2",
    "llama_cpp",
    "llguidance",
    "modelscope",
    "msgpack",
    "numpy",
    "platformdirs",
    "prompt_toolkit",
    "psutil",
    "pydantic",
    "rich",
    "starlette",
    "uvicorn",
}


def modules_after(code: str) -> set[str]:
    code = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["localrun.cli.app", "localrun.cli.main", "localrun"])
def test_importing_the_command_line_stays_light(module: str) -> None:
    assert HEAVY.isdisjoint(modules_after(f"import {module}"))


def test_version_imports_not_even_typer() -> None:
    code = "sys.argv = ['localrun', '--version']\nfrom localrun.cli.main import main\nmain()"

    assert (HEAVY | {"typer"}).isdisjoint(modules_after(code))


def test_the_server_process_never_loads_llama_cpp() -> None:
    assert {"llama_cpp", "llguidance"}.isdisjoint(modules_after("import localrun.server.run"))
