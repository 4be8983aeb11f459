"""The small commands, by what they print."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from localrun import __version__
from localrun.store.blobs import file_digest
from localrun.store.store import embedded_models
from tests.program import PROGRAM
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Localrun
    from tests.cli.fake_server import FakeServer
    from tests.conftest import Golden


def running(**changes: object) -> dict[str, Any]:
    until = datetime.now(tz=UTC) + timedelta(minutes=4, seconds=10)
    model: dict[str, Any] = {
        "name": "guide:latest",
        "digest": "sha256:0123456789abcdef",
        "state": "ready",
        "progress": 1.0,
        "size_bytes": 10_000_000,
        "size_gpu_bytes": 0,
        "memory": {"CPU": 10_000_000},
        "shared_with": None,
        "context": 2048,
        "context_used": 2048,
        "context_allocated": 4096,
        "context_total": 8192,
        "context_lacks_memory": False,
        "parallel": 16,
        "running": 0,
        "waiting": 0,
        "tokens_per_s": 0.0,
        "pinned": False,
        "until": until.isoformat(),
        "stays_for_ever": False,
        "reason": None,
        "retry_after_s": None,
    }
    return model | changes


@pytest.mark.parametrize(
    "command", ["", "run", "list", "ps", "stop", "rm", "mv", "serve", "version"]
)
def test_the_help_is_as_reviewed(command: str, localrun_alone: Localrun, golden: Golden) -> None:
    done = localrun_alone(*command.split(), "--help")

    assert done.returncode == 0
    golden(f"help/{command or 'localrun'}.txt", done.stdout)


def test_without_a_command_the_help_is_shown(localrun_alone: Localrun) -> None:
    done = localrun_alone()

    assert "Usage: localrun" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_near_command_is_suggested(localrun_alone: Localrun) -> None:
    done = localrun_alone("lst")

    assert done.returncode == 2
    assert "list" in done.stderr


@pytest.mark.parametrize("command", ["list", "ls"])
def test_list_needs_no_server(localrun_alone: Localrun, command: str, tmp_path: Path) -> None:
    done = localrun_alone(command)

    heads, row = done.stdout.splitlines()
    assert heads.split() == ["NAME", "ID", "SIZE", "MODIFIED", "CAPABILITIES"]
    assert row.split()[:2] == ["guide:latest", file_digest(embedded_models()["guide:latest"])[7:19]]
    assert row.endswith("ago   completion, tools, thinking, vision, audio")
    assert list(tmp_path.iterdir()) == []


def test_the_json_of_list_has_the_reviewed_keys(localrun_alone: Localrun) -> None:
    (model,) = json.loads(localrun_alone("list", "--json").stdout)

    assert sorted(model) == [
        "capabilities", "context_length", "digest", "family", "modified", "name", "parameter_size",
        "quantization", "remote", "size_bytes",
    ]  # fmt: skip
    assert model["name"] == "guide:latest"
    assert model["digest"] == file_digest(embedded_models()["guide:latest"])


HEADS = ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "STATE", "REQUESTS", "TOKENS/S", "UNTIL"]


def test_ps_without_a_server_is_an_empty_table(localrun_alone: Localrun) -> None:
    done = localrun_alone("ps")

    assert done.returncode == 0
    assert done.stdout.split() == HEADS
    assert json.loads(localrun_alone("ps", "--json").stdout) == []


@pytest.mark.parametrize(
    ("changes", "cells"),
    [
        ({}, "10.0 MB 100% CPU 2048 (25% used, 4096/8192 cells) ready 0 4 minutes from now"),
        (
            {"size_gpu_bytes": 10_000_000},
            "10.0 MB 100% GPU 2048 (25% used, 4096/8192 cells) ready 0 4 minutes from now",
        ),
        (
            {"size_gpu_bytes": 5_200_000},
            "10.0 MB 48%/52% CPU/GPU 2048 (25% used, 4096/8192 cells) ready 0 4 minutes from now",
        ),
        (
            {"stays_for_ever": True, "pinned": True},
            "10.0 MB 100% CPU 2048 (25% used, 4096/8192 cells) ready, pinned 0 for ever",
        ),
        (
            {"state": "busy", "running": 2, "waiting": 3, "until": None, "tokens_per_s": 12.34},
            "10.0 MB 100% CPU 2048 (25% used, 4096/8192 cells) busy 2 +3 12.3 busy",
        ),
        (
            {"shared_with": "other"},
            "shared 100% CPU 2048 (25% used, 4096/8192 cells) ready 0 4 minutes from now",
        ),
        (
            {"state": "loading", "progress": 0.4, "size_bytes": 0, "waiting": 1, "until": None},
            "loading 40% 0 +1 busy",
        ),
        (
            {"state": "failed", "size_bytes": 0, "reason": "it died", "retry_after_s": 42},
            "failed: it died 0 retried in 42 seconds",
        ),
    ],
)
def test_ps_shows_what_a_model_does_and_how_long_it_stays(
    localrun: Localrun, server: FakeServer, changes: dict[str, object], cells: str
) -> None:
    server.script.running = [running(**changes)]

    _, row = localrun("ps").stdout.splitlines()

    assert " ".join(row.split()) == f"guide:latest 0123456789ab {cells}"


def test_ps_reports_a_cache_that_cannot_grow(localrun: Localrun, server: FakeServer) -> None:
    server.script.running = [running(context_lacks_memory=True)]

    *_, note = localrun("ps").stdout.splitlines()

    assert note == "guide:latest: too little memory is free for more KV cache cells"


def test_ps_shows_the_cells_of_a_server_that_does_not_count_them(
    localrun: Localrun, server: FakeServer
) -> None:
    older = running()
    del older["context_allocated"], older["context_lacks_memory"]
    server.script.running = [older]

    assert "2048 (25% used, 8192/8192 cells)" in localrun("ps").stdout


def test_the_json_of_ps_has_the_reviewed_keys(localrun: Localrun, server: FakeServer) -> None:
    server.script.running = [running(stays_for_ever=True, until=None)]

    (row,) = json.loads(localrun("ps", "--json").stdout)

    assert sorted(row) == [
        "context", "context_allocated", "context_lacks_memory", "context_total", "context_used",
        "digest", "memory", "name", "parallel", "pinned", "progress", "reason", "requests",
        "retry_after_s", "running", "shared_with", "size_bytes", "size_gpu_bytes", "state",
        "tokens_per_s", "until", "waiting",
    ]  # fmt: skip
    assert row["digest"] == "sha256:0123456789abcdef"
    assert row["until"] is None


def test_ps_watches_until_it_is_interrupted(server: FakeServer, tmp_path: Path) -> None:
    server.script.running = [running()]
    process = subprocess.Popen(
        [*PROGRAM, "ps", "--watch", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **server.environment(tmp_path)},
    )
    assert process.stdout is not None

    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=HANG_S)

    assert [json.loads(line)[0]["name"] for line in lines] == ["guide:latest"] * 2
    assert process.returncode == 130


def test_load_tells_how_long_it_took_and_asks_for_a_pin(
    localrun: Localrun, server: FakeServer
) -> None:
    server.script.load_signs = [
        {"status": "loading", "progress": 0.5, "done": False},
        {"status": "ready", "load_s": 1.25, "done": True},
    ]

    done = localrun("load", "guide", "--pin", "--ctx", "4k")

    assert done.stderr == "loaded guide:latest in 1.25 s and pinned it\n"
    assert server.script.loads == [{"model": "guide:latest", "pin": True, "num_ctx": 4096}]


def test_doctor_finds_nothing_wrong_here(localrun: Localrun) -> None:
    done = localrun("doctor", "--json")

    found = {row["what"]: row["health"] for row in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert {"store", "models", "cache", "logs", "disk", "server", "memory"} <= found.keys()
    assert "wrong" not in found.values()


def test_doctor_names_another_program_at_the_address_and_leaves_with_one(
    localrun: Localrun, server: FakeServer
) -> None:
    server.script.version = {"version": "0.13.5"}

    done = localrun("doctor")

    assert done.returncode == 1
    assert "wrong    server: another program than localrun listens" in done.stdout


def test_stop_unloads_the_named_model(localrun: Localrun, server: FakeServer) -> None:
    server.script.running = [running()]

    done = localrun("stop", "guide")

    assert done.returncode == 0
    assert "guide:latest" in done.stderr
    assert server.script.heard == [{"model": "guide:latest", "keep_alive": 0}]


def test_stop_all_unloads_every_model(localrun: Localrun, server: FakeServer) -> None:
    server.script.running = [running(), running(name="other:latest")]

    localrun("stop", "--all")

    assert [body["model"] for body in server.script.heard] == ["guide:latest", "other:latest"]


@pytest.mark.parametrize(
    ("argument", "unloaded", "has_left"),
    [
        ("guide", ["guide:latest"], False),
        ("--all", ["guide:latest"], False),
        ("--server", [], True),
    ],
)
def test_stop_says_as_json_what_it_did(
    localrun: Localrun, server: FakeServer, argument: str, unloaded: list[str], *, has_left: bool
) -> None:
    server.script.running = [running()]

    done = localrun("stop", argument, "--json")

    assert json.loads(done.stdout) == {"unloaded": unloaded, "server_stopped": has_left}
    assert done.stderr == ""


def test_stopping_what_is_not_loaded_says_so(localrun: Localrun, server: FakeServer) -> None:
    done = localrun("stop", "guide")

    assert (done.returncode, done.stderr) == (0, "guide:latest is not loaded\n")
    assert server.script.heard == []


def test_stopping_an_unknown_model_is_an_error(localrun: Localrun) -> None:
    assert localrun("stop", "nosuch").returncode == 3


def test_stop_server_returns_when_the_server_has_left(
    localrun: Localrun, server: FakeServer
) -> None:
    done = localrun("stop", "--server")

    assert done.returncode == 0
    assert server.script.told_to_leave.is_set()


@pytest.mark.parametrize("arguments", [["guide"], ["--all"], ["--server"]])
def test_stop_without_a_server_has_nothing_to_do(
    localrun_alone: Localrun, arguments: list[str]
) -> None:
    done = localrun_alone("stop", *arguments)

    assert done.returncode == 0
    assert "no server" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["guide", "--all"], ["--all", "--server"]])
def test_stop_wants_exactly_one_thing(localrun: Localrun, arguments: list[str]) -> None:
    done = localrun("stop", *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_version_tells_of_program_and_server(localrun: Localrun, server: FakeServer) -> None:
    server.script.version["localrun"] = "0.0.1"

    assert json.loads(localrun("version", "--json").stdout) == {
        "localrun": __version__,
        "server": "0.0.1",
    }
    assert "0.0.1" in localrun("version").stderr


def test_version_works_without_a_server(localrun_alone: Localrun) -> None:
    done = localrun_alone("version")

    assert (done.returncode, done.stdout) == (0, f"localrun {__version__}\n")


@pytest.mark.parametrize(
    "command", [["run", "guide", "hi"], ["ps"], ["stop", "--all"], ["version"]]
)
def test_another_program_at_the_address_is_named_and_never_asked(
    localrun: Localrun, server: FakeServer, command: list[str]
) -> None:
    server.script.version = {"version": "0.13.5"}

    done = localrun(*command)

    assert "Traceback" not in done.stderr
    assert server.script.heard == []
    assert set(server.script.paths) <= {"/api/version"}
    if command[0] != "version":
        assert done.returncode == 5
        assert "another program" in done.stderr


def test_a_wrong_setting_is_told_by_its_name(
    localrun_alone: Localrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCALRUN_HOST", raising=False)

    done = localrun_alone("serve", "--host", "ftp://nowhere")

    assert done.returncode == 2
    assert "not an address" in done.stderr


def test_serve_speaks_https_by_a_certificate_only(localrun_alone: Localrun) -> None:
    done = localrun_alone("serve", "--host", "https://127.0.0.1:0")

    assert done.returncode == 2
    assert "certificate" in done.stderr


def test_serve_refuses_other_machines_without_a_word_for_it(localrun_alone: Localrun) -> None:
    done = localrun_alone("serve", "--host", "0.0.0.0:0")

    assert done.returncode == 2
    assert "--insecure" in done.stderr
