"""Commands as a user types them, where no server is needed or none may be started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMANDS = ["", "run", "serve", "list", "ps", "stop", "version"]
NOBODY = "127.0.0.1:9"  # the discard port: nothing of ours listens there


def localrun(*words: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "LOCALRUN_HOST": NOBODY,
        "COLUMNS": "100",
        "NO_COLOR": "1",
        **environ,
    }
    return subprocess.run(
        [sys.executable, "-m", "localrun", *words],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        env=environment,
        timeout=60,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_the_kept_one(command: str, golden: Callable[[str, str], None]) -> None:
    done = localrun(*command.split(), "--help", TERM="dumb")

    golden(f"help-{command or 'localrun'}.txt", re.sub(r" +\n", "\n", done.stdout))
    assert done.returncode == 0


def test_version_is_printed_in_three_ways() -> None:
    texts = {localrun(*words).stdout for words in (["--version"], ["version"])}

    assert len(texts) == 1
    assert json.loads(localrun("version", "--json").stdout)["server"] is None


def test_list_needs_no_server() -> None:
    done = localrun("list")
    (model,) = json.loads(localrun("list", "--json").stdout)

    assert done.stdout.splitlines()[0].split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert "guide:latest" in done.stdout
    assert sorted(model) == [
        "capabilities",
        "context_length",
        "digest",
        "family",
        "modified",
        "name",
        "parameter_size",
        "quantization",
        "size_bytes",
    ]


def test_ps_without_a_server_is_empty() -> None:
    assert localrun("ps").stdout.split() == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert json.loads(localrun("ps", "--json").stdout) == []


def test_stop_without_a_server_has_nothing_to_do() -> None:
    for words in (["guide"], ["--all"], ["--server"]):
        done = localrun("stop", *words)
        assert (done.returncode, done.stderr) == (0, "no server is running: nothing is loaded\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "nosuch", "hi"], 3, "error: model 'nosuch' is not on this machine\nhint: "),
        (["run", "giude", "hi"], 3, "hint: localrun run guide"),
        (["run", "a b", "hi"], 2, "error: not a model name: 'a b'"),
        (["run", "guide"], 2, "error: the prompt is empty"),
        (["run", "guide", "hi", "--format", "xml"], 2, "--format xml is not known"),
        (["run", "guide", "hi", "--keep-alive", "soon"], 2, "not a duration: soon"),
        (["run", "guide", "hi", "--top-p", "2"], 2, "--top-p"),
        (["run", "guide", "hi", "--seed", "x"], 2, "--seed"),
        (["run"], 2, "model"),
        (["nosuch"], 2, "nosuch"),
        (["stop"], 2, "name one model, or --all, or --server"),
        (["stop", "guide", "--all"], 2, "name one model"),
        (["stop", "nosuch"], 3, "'nosuch' is not on this machine"),
        (["serve", "--host", "0.0.0.0:0"], 2, "asks for no key"),
        (["serve", "--host", "1.2.3.4:5", "--insecure"], 5, "cannot listen on 1.2.3.4:5"),
    ],
)
def test_what_a_user_does_wrong_is_told_in_a_line(words: list[str], code: int, said: str) -> None:
    done = localrun(*words)

    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_bad_variables_are_told_by_name() -> None:
    done = localrun("ps", LOCALRUN_HOST="a:b")

    assert (done.returncode, "LOCALRUN_HOST" in done.stderr) == (2, True)


def test_a_server_elsewhere_is_never_started() -> None:
    done = localrun("run", "guide", "hi", LOCALRUN_HOST="localrun.invalid:1")

    assert done.returncode == 5
    assert "no localrun server answers at localrun.invalid:1" in done.stderr


def test_a_log_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = localrun("run", "guide", "hi", LOCALRUN_LOG_DIR=str(tmp_path / "file" / "x"))

    assert done.returncode == 8
    assert "cannot write the server's log" in done.stderr


def test_output_helpers_read_well() -> None:
    from localrun.cli.output import human_bytes, human_seconds

    sizes: list[Any] = [human_bytes(n) for n in (0, 999, 6_275_488, 4_700_000_000, 10**13)]
    assert sizes == ["0 B", "999 B", "6.3 MB", "4.7 GB", "10.0 TB"]
    assert [human_seconds(n) for n in (-1, 59, 60, 7200, 90000)] == [
        "0 seconds",
        "59 seconds",
        "1 minute",
        "2 hours",
        "1 day",
    ]
