"""Newer versions of this program, from an index on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from localrun import __version__
from localrun.errors import NetworkError, NotFoundError, UsageError
from localrun.program import BINARY
from localrun.registry.http import Http, HttpError, OfflineError
from localrun.services import upgrade
from localrun.services.upgrade import (
    INDEX,
    SUMMARY,
    Upgrade,
    index_url,
    newest_version,
    upgrade_command,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def index(body: bytes, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of an index with one answer, and the paths that it is asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


def project(version: object, summary: str = SUMMARY) -> bytes:
    return json.dumps({"info": {"version": version, "summary": summary}}).encode()


@pytest.mark.parametrize(
    ("version", "is_newer"),
    [("99.0", True), (f"{__version__}.1", True), (__version__, False), ("0.0.9", False)],
)
def test_a_newer_version_is_reported(version: str, *, is_newer: bool) -> None:
    with index(project(version)) as (url, paths):
        found = newest_version(Http({}), url)

    assert (found.installed, found.newest, found.is_newer) == (__version__, version, is_newer)
    assert paths == ["/pypi/localrun/json"]


def test_another_program_of_the_name_is_never_offered() -> None:
    with index(project("99.0", "A simple local HTTP server")) as (url, _):
        with pytest.raises(NotFoundError, match="is another program: do not install it"):
            newest_version(Http({}), url)


def test_a_project_that_does_not_exist_is_said_to() -> None:
    with index(b"{}", 404) as (url, _), pytest.raises(NotFoundError, match="has no project"):
        newest_version(Http({}), url)


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", project(None), project("x\x1b[31m"), b"[" * 100_000]
)
def test_an_answer_of_another_kind_is_an_error(body: bytes) -> None:
    with index(body) as (url, _), pytest.raises(NetworkError, match=r"127\.0\.0\.1"):
        newest_version(Http({}), url)


def test_a_failing_index_is_named() -> None:
    with index(b"", 503) as (url, _), pytest.raises(HttpError, match="answers 503"):
        newest_version(Http({}), url)


def test_nothing_is_asked_offline() -> None:
    with index(project("99.0")) as (url, paths):
        with pytest.raises(OfflineError, match="LOCALRUN_OFFLINE is set"):
            newest_version(Http({}, is_offline=True), url)

    assert paths == []


def test_the_address_of_the_index_is_checked() -> None:
    assert index_url({}) == "https://pypi.org"
    assert index_url({"LOCALRUN_INDEX": "http://x/"}) == "http://x"
    with pytest.raises(UsageError, match="LOCALRUN_INDEX is not an address"):
        index_url({"LOCALRUN_INDEX": "file:///x"})


@pytest.mark.parametrize(
    ("marker", "command"),
    [
        ("pipx_metadata.json", "pipx upgrade localrun"),
        ("uv-receipt.toml", "uv tool upgrade localrun"),
        ("nothing", f"{sys.executable} -m pip install --upgrade localrun==9.0"),
    ],
)
def test_the_command_is_that_of_the_installer(
    marker: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / marker).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(upgrade, "_source_folder", lambda: None)
    monkeypatch.delenv(BINARY, raising=False)

    found = Upgrade(installed="1", newest="9.0", is_newer=True, index=INDEX)
    assert upgrade_command(found) == command


def test_pip_is_not_told_the_name_before_the_index_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(upgrade, "_source_folder", lambda: None)
    monkeypatch.delenv(BINARY, raising=False)

    assert upgrade_command().startswith(f"{sys.executable} -m pip install --upgrade WHEEL ")
    found = Upgrade(installed="1", newest="2", is_newer=True, index="http://x")
    assert "--index-url http://x/simple localrun==2" in upgrade_command(found)


def test_the_summary_is_that_of_the_package() -> None:
    assert metadata.metadata("localrun")["Summary"] == SUMMARY


def test_a_binary_is_replaced_and_a_folder_of_sources_pulled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = {"dir_info": {"editable": True}, "url": "file:///a%20b"}

    class Installed:
        def read_text(self, _: str) -> str:
            return json.dumps(origin)

    def distribution(_: str) -> Any:
        return Installed()

    monkeypatch.setattr(metadata, "distribution", distribution)
    assert upgrade_command().startswith("git -C '/a b' pull && ")
    binary = tmp_path / "localrun"
    binary.touch(mode=0o755)
    monkeypatch.setenv(BINARY, str(binary))
    assert upgrade_command() == f"replace {binary} by the file of the new version"


def test_the_command_line_asks_only_when_it_is_told_to(tmp_path: Path) -> None:
    with index(project("99.0")) as (url, paths):
        environ = os.environ | {"LOCALRUN_INDEX": url, "LOCALRUN_LOG_DIR": str(tmp_path)}

        def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "localrun", "upgrade", *words],
                check=False, capture_output=True, text=True, env=environ | variables,
            )  # fmt: skip

        alone = run()
        assert (alone.returncode, paths) == (0, [])
        offline = run("--check", LOCALRUN_OFFLINE="1")
        assert (offline.returncode, paths) == (5, [])
        assert "LOCALRUN_OFFLINE is set" in offline.stderr
        checked = json.loads(run("--check", "--json").stdout)
        text = run("--check")

    assert checked == {
        "installed": __version__, "newest": "99.0", "is_newer": True,
        "index": url, "command": alone.stdout.strip(),
    }  # fmt: skip
    assert text.stdout == f"localrun 99.0 is available, {__version__} is installed\n"
    assert text.stderr == f"hint: {alone.stdout}"
    assert run("--check", LOCALRUN_INDEX="http://127.0.0.1:1").returncode == 5
