from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest

from localrun.integrations.registry import TOOLS
from tests.cli.connecting.conftest import AGENT, EMBEDDER, FILLER, model

if TYPE_CHECKING:
    from tests.cli.connecting.conftest import ToolHome
    from tests.cli.fake_server import FakeServer

CODEX = '# mine\nmodel = "gpt-5" # default\n'


def test_the_list_has_every_tool_and_how_it_was_checked(tool_home: ToolHome) -> None:
    done = tool_home.run("connect", "list")

    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == ["NAME", *sorted(TOOLS)]
    assert "not started" in done.stdout


def test_the_list_as_json_has_these_keys(tool_home: ToolHome) -> None:
    tools = json.loads(tool_home.run("connect", "list", "--json").stdout)

    assert {frozenset(tool) for tool in tools} == {
        frozenset(
            {
                "name", "title", "settings", "launches", "roles", "context", "calls_tools",
                "checked", "is_started",
            }
        )
    }  # fmt: skip


def test_settings_are_printed_with_their_file(server: FakeServer, tool_home: ToolHome) -> None:
    done = tool_home.run("connect", "codex")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"# {tool_home.path / '.codex' / 'config.toml'}\n")
    settings = tomllib.loads(done.stdout)
    assert settings["model"] == AGENT
    assert settings["model_providers"]["localrun"]["base_url"] == f"http://{server.address}/v1"
    assert not (tool_home.path / ".codex").exists()


def test_settings_as_json_have_these_keys(tool_home: ToolHome) -> None:
    answer = json.loads(tool_home.run("connect", "zed", "--json").stdout)

    assert answer.keys() == {
        "name", "url", "needs_key", "models", "files", "environment", "steps", "problems",
        "checked",
    }  # fmt: skip
    assert answer["files"][0].keys() == {"path", "format", "text", "is_written", "problem"}
    assert answer["models"]["chat"] == {"name": AGENT, "context": 131072}


def test_each_role_gets_a_model_that_can_do_it(tool_home: ToolHome) -> None:
    answer = json.loads(tool_home.run("connect", "continue", "--json").stdout)

    models = {role: each["name"] for role, each in answer["models"].items()}
    assert models == {
        "chat": AGENT,
        "edit": AGENT,
        "autocomplete": FILLER,
        "embed": EMBEDDER.removesuffix(":latest"),
    }


def test_written_settings_are_found_again_and_restored(tool_home: ToolHome) -> None:
    path = tool_home.path / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text(CODEX)

    first = tool_home.run("connect", "codex", "--write", "--yes")
    written = path.read_text()
    second = tool_home.run("connect", "codex", "--write", "--yes")
    undone = tool_home.run("connect", "codex", "--undo")

    assert first.returncode == 0, first.stderr
    assert f'-model = "gpt-5" # default\n+model = "{AGENT}" # default\n' in first.stderr
    assert "# mine" in written
    assert "nothing to write" in second.stderr
    assert undone.returncode == 0, undone.stderr
    assert path.read_text() == CODEX


def test_nothing_is_written_without_consent(tool_home: ToolHome) -> None:
    done = tool_home.run("connect", "codex", "--write")

    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not (tool_home.path / ".codex").exists()


def test_a_malformed_file_is_left(tool_home: ToolHome) -> None:
    path = tool_home.path / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text("model = ")

    done = tool_home.run("connect", "codex", "--write", "--yes")

    assert done.returncode == 2
    assert str(path) in done.stderr
    assert path.read_text() == "model = "


def test_undo_refuses_a_file_that_was_changed_since(tool_home: ToolHome) -> None:
    path = tool_home.path / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text(CODEX)
    tool_home.run("connect", "codex", "--write", "--yes")
    path.write_text("x = 1\n")

    done = tool_home.run("connect", "codex", "--undo")

    assert done.returncode == 2
    assert "compare it with" in done.stderr
    assert path.read_text() == "x = 1\n"


def test_a_named_model_is_remembered(server: FakeServer, tool_home: ToolHome) -> None:
    server.script.models.append(model("other:4b", ["completion", "tools"], 65536, 4))
    tool_home.run("connect", "codex", "--model", "other:4b", "--write", "--yes")

    answer = json.loads(tool_home.run("connect", "codex", "--json").stdout)

    assert answer["models"]["chat"]["name"] == "other:4b"
    assert answer["files"][0]["is_written"]


def test_a_key_is_referred_to_and_never_printed(tool_home: ToolHome) -> None:
    done = tool_home.run("connect", "opencode", LOCALRUN_API_KEY="secret-key")

    assert "{env:LOCALRUN_API_KEY}" in done.stdout
    assert "secret-key" not in done.stdout + done.stderr


def test_a_short_context_is_reported_with_a_command(
    server: FakeServer, tool_home: ToolHome
) -> None:
    server.script.models = [model("tiny:latest", ["completion", "tools"], 2048, 1)]

    done = tool_home.run("connect", "codex")

    assert done.returncode == 0
    assert "tiny gets a context of 2048 tokens, and Codex needs 32768" in done.stderr
    assert "localrun pull" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["codx"], 3, "localrun connect codex"),
        (["codex", "zed"], 2, "connect TOOL"),
        (["check"], 2, "connect check TOOL"),
        (["codex", "--write", "--undo"], 2, "exclude"),
        (["check", "codex", "--write"], 2, "writes nothing"),
        (["copilot", "--write"], 2, "no file"),
        (["codex", "--embed", "x"], 2, "no model for embed"),
        (["codex", "--model", "missing"], 3, "localrun pull missing"),
        (["zed", "--autocomplete", "agent:8b"], 2, "insert"),
        (["codex", "--undo"], 3, "nothing to undo"),
    ],
)
def test_wrong_use_is_one_clear_error(
    tool_home: ToolHome, arguments: list[str], code: int, text: str
) -> None:
    done = tool_home.run("connect", *arguments)

    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_without_models_for_chat_is_an_error(
    server: FakeServer, tool_home: ToolHome
) -> None:
    server.script.models = []

    done = tool_home.run("connect", "codex")

    assert done.returncode == 3
    assert "localrun pull" in done.stderr


def test_names_of_models_cannot_write_on_the_terminal_or_into_toml(
    server: FakeServer, tool_home: ToolHome
) -> None:
    name = 'x"]\n\x1b[2J'
    server.script.models = [model(name, ["completion", "tools"], 65536, 1)]

    done = tool_home.run("connect", "codex")

    assert tomllib.loads(done.stdout)["model"] == name
    assert "\x1b" not in done.stderr


def test_a_check_names_what_is_wrong(tool_home: ToolHome) -> None:
    """The fake server answers every request as Ollama does."""
    done = tool_home.run("connect", "check", "codex")

    assert done.returncode == 1
    assert "FAIL  settings" in done.stdout
    assert "localrun connect codex --write" in done.stdout
    assert "FAIL  responses: the answer has no end" in done.stdout


def test_a_check_as_json_has_these_keys(tool_home: ToolHome) -> None:
    answer = json.loads(tool_home.run("connect", "check", "open-webui", "--json").stdout)

    assert answer.keys() == {"name", "checks"}
    checks = {check["check"]: check for check in answer["checks"]}
    assert checks["models"] == {
        "check": "models", "ok": True, "skipped": False, "problem": None, "hint": None,
    }  # fmt: skip
    assert not checks["chat"]["ok"]
