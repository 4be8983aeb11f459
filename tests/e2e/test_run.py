from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.conftest import Home, make_home, wait_for
from tests.program import PROGRAM
from tests.waiting import HANG_S

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Callable

# an answer that cannot end before the context does
LONG = ("--format", '{"type": "array", "minItems": 9000, "items": {"type": "integer"}}')


def test_a_first_question_is_answered_on_a_fresh_machine(tmp_path: Path) -> None:
    home = make_home(tmp_path)

    done = home.run("run", "guide", "How do I download a model?", "--temperature", "0")
    stopped = home.run("stop", "--server")

    assert "localrun pull" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert stopped.stderr == "the server has stopped\n"


def test_two_first_runs_at_once_share_one_server(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    both = [home.start("run", "guide", "hi", "--temperature", "0") for _ in range(2)]

    answers = [process.communicate(timeout=HANG_S)[0] for process in both]

    assert answers[0] == answers[1] != b""
    assert home.run("stop", "--server").returncode == 0


def test_piped_text_is_the_prompt_or_comes_after_it(server: Home) -> None:
    alone = server.run("run", "guide", "--temperature", "0", stdin="What is 2 + 3?\n")
    after = server.run("run", "guide", "What is", "--temperature", "0", stdin="2 + 3?")

    assert "5" in alone.stdout
    assert after.returncode == 0


def test_verbose_prints_the_figures_on_stderr(server: Home) -> None:
    done = server.run("run", "guide", "hi", "--verbose")

    labels = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert labels == [
        "total duration",
        "load duration",
        "prompt eval count",
        "prompt eval duration",
        "prompt eval rate",
        "eval count",
        "eval duration",
        "eval rate",
    ]


def test_json_and_no_stream_give_the_same_answer(server: Home) -> None:
    plain = server.run("run", "guide", "What is 4 + 4?", "--temperature", "0", "--no-stream")
    as_json = server.run("run", "guide", "What is 4 + 4?", "--temperature", "0", "--json")

    found = json.loads(as_json.stdout)
    assert found["content"] == plain.stdout.rstrip("\n")
    assert found["finish_reason"] == "stop"
    assert sorted(found) == [
        "cached_tokens",
        "content",
        "finish_reason",
        "generated_tokens",
        "generation_s",
        "load_s",
        "model",
        "prompt_s",
        "prompt_tokens",
        "thinking",
        "tool_calls",
        "total_s",
    ]


def test_format_json_and_limits_are_obeyed(server: Home) -> None:
    shaped = server.run(
        "run", "guide", "Answer in JSON: What is 2 + 2?", "--format", "json", "--temperature", "0"
    )
    short = server.run("run", "guide", "hi", "--num-predict", "1", "--json")

    assert isinstance(json.loads(shaped.stdout), dict)
    assert json.loads(short.stdout)["generated_tokens"] == 1
    assert json.loads(short.stdout)["finish_reason"] == "length"


def test_ps_shows_the_model_and_stop_unloads_it(server: Home) -> None:
    server.run("run", "guide", "hi")
    (row,) = json.loads(server.run("ps", "--json").stdout)

    stopped = server.run("stop", "guide")

    assert row["name"] == "guide:latest"
    assert "100% CPU" in server.run("ps").stdout or row["size_gpu_bytes"] or stopped.returncode == 0
    assert stopped.stderr == "unloaded guide:latest\n"
    assert json.loads(server.run("ps", "--json").stdout) == []


def test_ctrl_c_stops_the_answer_with_130(server: Home) -> None:
    process = server.start("run", "guide", "Tell me a story", *LONG)
    assert process.stdout is not None
    process.stdout.read(1)

    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=HANG_S)

    assert process.returncode == 130
    assert b"Traceback" not in complaint
    wait_for(lambda: requests_open(server) == 0)


def test_a_reader_that_leaves_is_no_error(server: Home) -> None:
    command = f"{' '.join(PROGRAM)} run guide 'Tell me a story' {shlex.join(LONG)} | head -c 1"

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        check=False,
        capture_output=True,
        env=server.environ,
        timeout=HANG_S,
    )

    assert (done.returncode, done.stderr) == (141, b"")  # as a program that SIGPIPE ended
    wait_for(lambda: requests_open(server) == 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_in_a_line(server: Home) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, "run", "guide", "hi"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=server.environ,
            timeout=HANG_S,
        )

    assert done.returncode == 8
    assert done.stderr == "error: cannot write the output: No space left on device\n"
    assert server.run("run", "guide", "hi").returncode == 0


def test_the_chat_remembers_and_leaves(server: Home) -> None:
    said = in_terminal(
        server,
        [
            ("Type a message.*>>> ", "My name is Greta.\n"),
            (r"\n[^\n]*Greta.*>>> ", "What is my name?\n"),  # the answer, not the echo
            (r"\n[^\n]*Greta.*>>> ", "/nosuch\n"),
            ("unknown command.*>>> ", "/bye\n"),
        ],
        "run",
        "guide",
        "--plain",
        "--temperature",
        "0",
    )

    assert said.count("Greta") >= 3


def test_ctrl_c_in_the_chat_stops_the_answer_only(server: Home) -> None:
    said = in_terminal(
        server,
        [
            (">>> ", "Tell me a story\n"),  # before the prompt, the terminal's own echo is seen
            (r"story.*\[\s*-?\d+\s*,", "\x03"),
            (r"\(stopped\)", "/bye\n"),
        ],
        "run",
        "guide",
        "--plain",
        *LONG,
    )

    assert "Traceback" not in said


def test_an_idle_server_leaves(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    home.environ["LOCALRUN_IDLE_EXIT"] = "3"  # for a client that is slow to ask

    assert home.run("run", "guide", "hi").returncode == 0

    wait_for(lambda: not is_up(home))
    assert "no request for" in Path(home.environ["LOCALRUN_LOG_DIR"], "server.log").read_text()


def requests_open(home: Home) -> int:
    rows = httpx.get(f"{home.url}/api/ps").json()["models"]
    return sum(row["num_open"] for row in rows)


def is_up(home: Home) -> bool:
    try:
        return httpx.get(f"{home.url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def in_terminal(home: Home, script: list[tuple[str, str]], *words: str) -> str:
    """Type each text when the pattern before it has been shown; return all that was shown."""
    child, screen = pty.fork()
    if child == 0:
        os.execve(PROGRAM[0], [*PROGRAM, *words], home.environ)  # noqa: S606 - our own program
    shown, seen = "", 0
    for expected, text in script:
        while not re.search(expected, shown[seen:], re.DOTALL):
            shown += os.read(screen, 4096).decode(errors="replace")
        seen = len(shown)
        os.write(screen, text.encode())
    shown += read_rest(lambda: os.read(screen, 4096))
    _, status = os.waitpid(child, 0)
    os.close(screen)
    assert os.waitstatus_to_exitcode(status) == 0
    return shown


def read_rest(read: Callable[[], bytes]) -> str:
    data = b""
    try:
        while piece := read():
            data += piece
    except OSError:  # the terminal is gone: the program has left
        pass
    return data.decode(errors="replace")


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cpu", "the running server uses device auto, not cpu"),
        ("cudda", "cudda is not the name of a device"),
    ],
)
def test_a_device_that_the_server_does_not_use_is_refused(
    server: Home, device: str, said: str
) -> None:
    done = server.run("run", "guide", "hi", "--device", device)

    assert done.returncode == 2
    assert said in done.stderr
