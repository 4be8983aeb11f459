"""``localrun service`` with a systemctl and a journalctl that say what this test tells them."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from localrun import __version__
from localrun.cli.app import app
from localrun.errors import BackendError, LocalrunError, NotFoundError, UsageError
from tests.cli.fake_server import unused_address

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is on Linux")

SYSTEMCTL = """#!/bin/sh
[ -n "$REFUSES" ] && { echo "Failed to connect to bus" >&2; exit 1; }
case "$*" in
  *localrun.service) echo "ActiveState=$SERVICE_STATE"; echo "MainPID=0"; echo "Result=exit-code" ;;
  *localrun.socket) echo "ActiveState=active" ;;
esac
"""
JOURNALCTL = """#!/bin/sh
echo "the journal"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with programs of systemd and an address of its own."""
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LOCALRUN_LOG_DIR", str(tmp_path / "log"))
    monkeypatch.setenv("LOCALRUN_HOST", unused_address())
    return tmp_path


def service(*words: str) -> Result:
    done: Result = CliRunner().invoke(app, ["service", *words])  # type: ignore[assignment] # typer's
    if done.exception is not None and not isinstance(done.exception, (LocalrunError, SystemExit)):
        raise done.exception
    return done


def test_a_service_is_installed_examined_and_uninstalled(home: Path) -> None:
    address = os.environ["LOCALRUN_HOST"]

    assert service("install").stdout == f"installed: {address}, by systemd\n"
    again = service("install")
    assert again.stdout == f"up to date: {address}, by systemd\n"
    assert "LOCALRUN_HOST, LOCALRUN_LOG_DIR" in again.stderr
    assert "loginctl enable-linger" in again.stderr
    rows = dict(line.split(maxsplit=1) for line in service("status").stdout.splitlines())
    assert rows["address"] == address
    assert (rows["listening"], rows["running"], rows["version"]) == ("yes", "no", __version__)
    assert service("uninstall").stdout == "uninstalled\n"
    assert [path for path in (home / "config").rglob("*") if path.is_file()] == []


def test_the_json_has_the_reviewed_keys() -> None:
    installed = json.loads(service("install", "--env", "HF_TOKEN=secret", "--json").stdout)
    status = json.loads(service("status", "--json").stdout)
    removed = json.loads(service("uninstall", "--json").stdout)

    assert sorted(installed) == ["address", "changed", "variables"]
    assert "HF_TOKEN" in installed["variables"]
    assert "secret" not in json.dumps(installed)
    assert sorted(status) == [
        "address", "files", "installed", "listening", "manager", "pid", "problem", "running",
        "server_version", "version",
    ]  # fmt: skip
    assert removed["removed"] == status["files"]
    assert json.loads(service("status", "--json").stdout)["installed"] is False


def test_a_failed_service_leads_to_its_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service("install")
    monkeypatch.setenv("SERVICE_STATE", "failed")
    (home / "log" / "server.log").write_text("one\ntwo\nthree\n")

    status, logs = service("status"), service("logs", "-n", "2")

    assert "problem     localrun.service has failed: exit-code" in status.stdout
    assert "hint: localrun service logs" in status.stderr
    assert logs.stdout == "the journal\ntwo\nthree\n"


@pytest.mark.parametrize("command", ["status", "logs", "uninstall"])
def test_without_a_service_there_is_nothing_to_do(command: str) -> None:
    done = service(command)

    assert isinstance(done.exception, NotFoundError)
    assert done.exception.hint == "localrun service install"


def test_without_systemd_the_alternative_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSES", "1")

    done = service("install")

    assert isinstance(done.exception, BackendError)
    assert "localrun serve --background" in str(done.exception.hint)


@pytest.mark.parametrize("variable", ["NAME", "=x", "A B=c", "1=x"])
def test_a_malformed_variable_is_refused_without_its_value(variable: str) -> None:
    assert isinstance(service("install", "--env", variable).exception, UsageError)
