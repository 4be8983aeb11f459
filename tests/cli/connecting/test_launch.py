from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from localrun.cli.connecting.choosing import KEEP_ALIVE, AgentModel, pullable
from localrun.cli.connecting.running import ChildSignals, renew
from localrun.registry.catalog import load_catalog
from localrun.services.connecting.served import ServedModel
from localrun.settings import load_settings
from tests.cli.connecting.conftest import AGENT, model
from tests.program import PROGRAM
from tests.signals import SIGKILL
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from tests.cli.connecting.conftest import Done, ToolHome
    from tests.cli.fake_server import FakeServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="programs that are scripts")
GB = 10**9
TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105 - the name of a variable
SLEEPER = """\
#!/bin/sh
trap 'kill $!; echo got TERM; exit 3' TERM
sleep 600 >&2 &
echo up
wait
exit 9
"""


def started(done: Done) -> dict[str, Any]:
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_tool_gets_flags_variables_and_arguments(server: FakeServer, tool_home: ToolHome) -> None:
    tool_home.install("claude")

    done = tool_home.run("launch", "claude-code", "--", "-p", "--model x", ANTHROPIC_API_KEY="mine")

    told = started(done)
    assert done.returncode == 0
    assert told["arguments"] == ["-p", "--model x"]
    assert told["environment"]["ANTHROPIC_BASE_URL"] == f"http://{server.address}"
    assert told["environment"]["ANTHROPIC_MODEL"] == AGENT
    assert told["environment"][TOKEN] == "local"
    assert "ANTHROPIC_API_KEY" not in told["environment"]
    assert not (tool_home.path / ".claude").exists()


def test_the_model_is_loaded_with_the_context_that_the_tool_needs(
    server: FakeServer, tool_home: ToolHome
) -> None:
    tool_home.install("codex")

    done = tool_home.run("launch", "codex", "--ctx", "40k")

    assert done.returncode == 0, done.stderr
    assert server.script.loads == [{"model": AGENT, "num_ctx": 40960, "keep_alive": KEEP_ALIVE}]


def test_the_exit_code_is_that_of_the_tool(tool_home: ToolHome) -> None:
    tool_home.install("codex", code=7)

    assert tool_home.run("launch", "codex").returncode == 7


def test_a_tool_that_a_signal_ended_ends_as_in_a_shell(tool_home: ToolHome) -> None:
    tool_home.install("codex", text="#!/bin/sh\nkill -9 $$\n")

    assert tool_home.run("launch", "codex").returncode == 128 + SIGKILL


def test_a_signal_reaches_the_tool(tool_home: ToolHome) -> None:
    tool_home.install("codex", text=SLEEPER)
    with subprocess.Popen(
        [*PROGRAM, "launch", "codex"],
        env=tool_home.environ | {"LOCALRUN_WARM": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"

        process.send_signal(signal.SIGTERM)

        assert process.stdout.readline() == "got TERM\n"
        assert process.wait(HANG_S) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_signal_that_comes_while_the_tool_starts_is_not_lost() -> None:
    signals = ChildSignals()
    signals.pass_on(signal.SIGTERM, None)
    with subprocess.Popen(["sleep", "600"]) as child:
        signals.attach(child)

        assert child.wait(HANG_S) == -signal.SIGTERM


def test_a_key_reaches_the_tool_and_no_argument(tool_home: ToolHome) -> None:
    tool_home.install("claude")

    told = started(tool_home.run("launch", "claude", LOCALRUN_API_KEY="secret-key"))

    assert told["environment"][TOKEN] == "secret-key"
    assert "secret-key" not in " ".join(told["arguments"])


def test_a_dry_run_loads_nothing_and_shows_no_key(server: FakeServer, tool_home: ToolHome) -> None:
    done = tool_home.run("launch", "claude", "--dry-run", LOCALRUN_API_KEY="secret-key")

    assert done.returncode == 0, done.stderr
    assert f"ANTHROPIC_MODEL={AGENT}" in done.stdout
    assert done.stdout.splitlines()[-1] == "claude"
    assert "secret-key" not in done.stdout
    assert server.script.loads == []


def test_a_named_model_is_used_again(server: FakeServer, tool_home: ToolHome) -> None:
    server.script.models.append(model("other:4b", ["completion", "tools"], 65536, 4))
    tool_home.install("codex")
    tool_home.run("launch", "codex", "--model", "other:4b")

    tool_home.run("launch", "codex")

    assert [load["model"] for load in server.script.loads] == ["other:4b", "other:4b"]


def test_a_missing_program_is_named_with_its_installation(tool_home: ToolHome) -> None:
    """Without a terminal nothing is installed."""
    done = tool_home.run("launch", "codex", PATH=f"{tool_home.path / 'bin'}:/nowhere")

    assert done.returncode == 3
    assert "npm install -g @openai/codex" in done.stderr


def test_an_agreed_installation_is_run_and_shown(tool_home: ToolHome) -> None:
    path = str(tool_home.path / "bin")
    tool = "#!/bin/sh\\necho installed tool\\n"
    tool_home.install(
        "npm",
        text=f"#!/bin/sh\n/bin/echo \"$@\" >&2\n/usr/bin/printf '{tool}' > {path}/codex\n"
        f"/bin/chmod +x {path}/codex\n",
    )

    done = tool_home.run("launch", "codex", "--yes", PATH=path)

    assert done.returncode == 0, done.stderr
    assert "install -g @openai/codex" in done.stderr
    assert done.stdout == "installed tool\n"


def test_a_failed_installation_is_an_error(tool_home: ToolHome) -> None:
    tool_home.install("npm", text="#!/bin/sh\nexit 1\n")

    done = tool_home.run("launch", "codex", "--yes", PATH=str(tool_home.path / "bin"))

    assert done.returncode == 1
    assert "npm install -g @openai/codex failed" in done.stderr


def test_without_a_model_for_agents_the_pull_is_named(
    server: FakeServer, tool_home: ToolHome
) -> None:
    server.script.models = server.script.models[1:]
    tool_home.install("codex")

    done = tool_home.run("launch", "codex")

    assert done.returncode == 3
    assert "no model here calls tools and has a context of 32768 tokens" in done.stderr
    assert "localrun pull" in done.stderr
    assert server.script.loads == []


def test_a_named_model_without_tools_is_a_warning(tool_home: ToolHome) -> None:
    tool_home.install("codex")

    done = tool_home.run("launch", "codex", "--model", "small")

    assert done.returncode == 0
    assert "does not call tools" in done.stderr


def test_a_tool_with_a_file_alone_is_written_after_consent(tool_home: ToolHome) -> None:
    tool_home.install("llm")

    refused = tool_home.run("launch", "llm")
    done = tool_home.run("launch", "llm", "--yes", "--", "hi")

    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert started(done)["arguments"] == ["-m", "localrun", "hi"]
    path = tool_home.path / ".config" / "io.datasette.llm" / "extra-openai-models.yaml"
    assert "model_id: localrun" in path.read_text()


def test_a_tool_that_cannot_be_started_says_so(tool_home: ToolHome) -> None:
    done = tool_home.run("launch", "zed")

    assert done.returncode == 2
    assert "localrun connect zed" in done.stderr


def test_a_load_that_fails_starts_no_tool(server: FakeServer, tool_home: ToolHome) -> None:
    tool_home.install("codex")
    server.script.load_signs = [{"error": "out of memory", "code": "load_failed"}]

    done = tool_home.run("launch", "codex")

    assert done.returncode != 0
    assert "out of memory" in done.stderr
    assert done.stdout == ""


def test_a_heartbeat_renews_a_loaded_model_only(server: FakeServer) -> None:
    settings = load_settings({**os.environ, "LOCALRUN_HOST": server.address})
    served = ServedModel(name=AGENT, capabilities=("tools",), size_bytes=1, trained_context=65536)
    chosen = AgentModel(model=served, num_ctx=32768)
    server.script.models = [model(AGENT, ["tools"], 65536, 1)]

    is_gone = renew(settings, chosen)
    server.script.running = [{"name": AGENT, "context_length": 8192}]
    is_loaded = renew(settings, chosen)

    assert (is_gone, is_loaded) == (False, True)
    assert [load["num_ctx"] for load in server.script.loads] == [32768]


def test_the_largest_model_that_fits_is_offered() -> None:
    entries = load_catalog().entries()

    small, large = pullable(entries, 8 * GB), pullable(entries, 64 * GB)

    assert pullable(entries, GB // 4) is None
    assert small is not None
    assert large is not None
    assert small.size_bytes < 8 * GB < large.size_bytes < 64 * GB
