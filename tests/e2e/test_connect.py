"""Tools that are connected to the real server, with its embedded model and an encoder."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import localrun
from tests.engine.tiny import encoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Home

from tests.e2e.conftest import make_home

GUIDE = Path(localrun.__file__).parent / "data" / "guide.gguf"
LONG = 40960
LENGTH_KEY = b"qwen3.context_length"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Return a home with guide, an encoder, and guide as if it had a long context."""
    folder = tmp_path_factory.mktemp("tools")
    home = make_home(folder)
    home.environ["LOCALRUN_MODELS"] = str(folder / "models")
    home.environ["XDG_STATE_HOME"] = str(folder / "state")
    home.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    encoder(folder / "encoder.gguf", GUIDE, context=512)
    weights = bytearray(GUIDE.read_bytes())
    number = weights.index(LENGTH_KEY) + len(LENGTH_KEY) + 4  # after the number's type
    weights[number : number + 4] = LONG.to_bytes(4, "little")
    (folder / "long.gguf").write_bytes(weights)
    for name in ("encoder", "long"):
        made = home.run("create", name, "-f", "-", stdin=f"FROM {folder}/{name}.gguf\n")
        assert made.returncode == 0, made.stderr
    yield home
    home.run("stop", "--server")


@pytest.mark.parametrize(
    "tool", ["codex", "claude-code", "opencode", "open-webui", "n8n", "jupyter-ai", "llm"]
)
def test_the_first_requests_of_a_tool_are_answered(tools: Home, tool: str) -> None:
    """Only the settings are missing: nothing was written."""
    answer = json.loads(tools.run("connect", "check", tool, "--json").stdout)

    failed = [check for check in answer["checks"] if not check["ok"]]
    assert [check["check"] for check in failed if check["check"] != "settings"] == []
    assert not any(check["skipped"] for check in answer["checks"])


def test_the_settings_have_the_context_of_this_machine(tools: Home) -> None:
    planned: dict[str, Any] = json.loads(tools.run("plan", "long", "--json").stdout)

    settings = tomllib.loads(tools.run("connect", "codex", "--model", "long").stdout)

    assert settings["model_context_window"] in {planned["context"], LONG}


def test_a_launch_loads_the_model_with_the_named_context(tools: Home) -> None:
    folder = Path(tools.environ["HOME"]) / "bin"
    folder.mkdir()
    program = folder / "codex"
    program.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    program.chmod(0o755)
    tools.environ["PATH"] = f"{folder}:{tools.environ['PATH']}"

    tools.run("stop", "long")  # a longer context would serve, too
    done = tools.run("launch", "codex", "--ctx", "36864", "--", "exec", "hi")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["exec", "hi"]
    assert "model_context_window=36864" in done.stdout
    loaded = {m["name"]: m for m in json.loads(tools.run("ps", "--json").stdout)}
    assert "36864" in json.dumps(loaded["long:latest"])


def test_a_server_that_is_down_is_started(tools: Home) -> None:
    tools.run("stop", "--server")

    done = tools.run("connect", "zed")

    assert done.returncode == 0, done.stderr
    assert tools.url in done.stdout
