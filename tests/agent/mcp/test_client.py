from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.agent.mcp import command as command_module
from localrun.agent.mcp.client import McpClient
from localrun.agent.mcp_file import CommandServer, UrlServer
from localrun.agent.toolbox import AgentTool, Effect, Toolbox
from localrun.system.processes import is_running
from tests.agent.tools.calls import call
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PROGRAM = (sys.executable, "-m", "tests.fakes.mcp_server")
SERVER = CommandServer(name="calc", command=PROGRAM, folder=ROOT)
ENVIRON = {**os.environ, "LOCALRUN_API_KEY": "k"}


class Connected:
    def __init__(self, client: McpClient, *servers: CommandServer | UrlServer) -> None:
        self.notes: list[str] = []
        self.tools: list[AgentTool] = client.connect(servers, ENVIRON, self.notes.append)
        self.box = Toolbox(self.tools)


@pytest.fixture(scope="module")
def calc() -> Iterator[Connected]:
    with closing(McpClient()) as client:
        yield Connected(client, SERVER)


@contextmanager
def web_server() -> Iterator[str]:
    process = subprocess.Popen([*PROGRAM, "http"], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_tools_have_names_that_begin_with_their_server(calc: Connected) -> None:
    add = calc.tools[0]

    assert add.name == "calc_add"
    assert add.effect is Effect.FOREIGN
    assert add.origin == "calc"
    assert add.description == "Add two numbers."
    assert add.parameters["required"] == ["a", "b"]
    assert calc.tools[-1].name == "calc_odd_name_with_signs"


def test_a_call_returns_the_result_of_the_server(calc: Connected) -> None:
    assert call(calc.box, "calc_add", a=1, b=2).text == "3"
    assert call(calc.box, "calc_odd_name_with_signs").text == "odd"
    assert call(calc.box, "calc_picture").text == "[image/png, 3 bytes, not shown]"


def test_errors_are_results(calc: Connected) -> None:
    for result in (call(calc.box, "calc_fail"), call(calc.box, "calc_add", a="x")):
        assert result.is_error
    assert "the tool has failed" in call(calc.box, "calc_fail").text


def test_a_huge_result_is_cut(calc: Connected) -> None:
    text = call(calc.box, "calc_huge").text

    assert len(text) < 1_100_000
    assert "bytes left out" in text


def test_a_cancelled_call_ends_and_the_server_goes_on(calc: Connected) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.05, cancel.set)
    timer.start()

    result = calc.box.call("calc_wait_for_ever", {}, cancel)

    assert "stopped" in result.text
    assert call(calc.box, "calc_add", a=1, b=2).text == "3"


def test_a_server_gets_no_secrets(calc: Connected) -> None:
    names = call(calc.box, "calc_environment").text.split("\n")

    assert "PATH" in names
    assert "LOCALRUN_API_KEY" not in names


def test_configured_variables_reach_the_server() -> None:
    server = CommandServer(
        name="calc", command=PROGRAM, folder=ROOT, environment=(("API_TOKEN", "t"),)
    )
    with closing(McpClient()) as client:
        names = call(Connected(client, server).box, "calc_environment").text.split("\n")

    assert "API_TOKEN" in names


def test_servers_that_are_not_available_are_reported_and_the_others_serve() -> None:
    servers = (
        CommandServer(name="missing", command=("no-such-program",)),
        CommandServer(name="failing", command=("/bin/sh", "-c", "echo broken >&2; exit 1")),
        UrlServer(name="closed", url="http://127.0.0.1:1/mcp"),
        SERVER,
    )
    with closing(McpClient()) as client:
        connected = Connected(client, *servers)

        assert call(connected.box, "calc_add", a=1, b=2).text == "3"
        assert len(connected.notes) == 3
        assert "'missing' is not available: no-such-program: No such file" in connected.notes[0]
        assert "'failing' is not available: broken" in connected.notes[1]
        assert "'closed' is not available" in connected.notes[2]


def test_a_server_that_ends_fails_its_calls(calc: Connected) -> None:  # noqa: ARG001 - quicker imports
    with closing(McpClient()) as client:
        connected = Connected(client, SERVER)
        process_id = int(call(connected.box, "calc_start_child").text)

        assert call(connected.box, "calc_leave").is_error
        assert call(connected.box, "calc_add", a=1, b=2).is_error
    wait_until(lambda: not is_running(process_id), "the end of the server's child")


def test_closing_ends_servers_that_ignore_it(tmp_path: Path) -> None:
    script = tmp_path / "stubborn.sh"
    script.write_text(
        f"echo $$ > {tmp_path}/pid\ntrap '' TERM HUP INT\n"
        "(setsid sleep 10000 &)\n"
        f"cd {ROOT}; {' '.join(PROGRAM)}\nwhile :; do sleep 1000; done\n"
    )
    server = CommandServer(name="stubborn", command=("/bin/sh", str(script)))
    client = McpClient()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_module, "EXIT_TIMEOUT_S", 0.1)
        connected = Connected(client, server)
        assert call(connected.box, "stubborn_add", a=1, b=2).text == "3"
        client.close()

    assert not is_running(int((tmp_path / "pid").read_text()))


def test_lines_that_are_no_messages_are_ignored() -> None:
    command = f"echo hello; echo '{{}}'; exec {' '.join(PROGRAM)}"
    server = CommandServer(name="noisy", command=("/bin/sh", "-c", command), folder=ROOT)
    with closing(McpClient()) as client:
        assert call(Connected(client, server).box, "noisy_add", a=1, b=2).text == "3"


def test_a_line_that_never_ends_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "LONGEST_LINE", 1000)
    server = CommandServer(name="endless", command=("/bin/sh", "-c", "yes x | tr -d '\\n'"))
    with closing(McpClient()) as client:
        connected = Connected(client, server)

    assert "not available" in connected.notes[0]


def test_a_server_of_streamable_http_is_called() -> None:
    with web_server() as url, closing(McpClient()) as client:
        connected = Connected(client, UrlServer(name="web", url=url))

        assert call(connected.box, "web_add", a=1, b=2).text == "3"
        assert call(connected.box, "web_fail").is_error
        assert "left out" in call(connected.box, "web_huge").text
        assert call(connected.box, "web_leave").is_error
