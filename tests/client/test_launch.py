"""Finding and starting the server. The real server is started here; it loads no model."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from localrun.client import launch
from localrun.client.launch import FirstRequest, ensure_server, find_server, stop_server
from localrun.errors import AddressInUseError, ServerUnreachableError, StorageError
from localrun.settings import Settings, load_settings
from tests.cli.fake_server import environment, fake_server, unused_address
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

# a background server outlives the program that starts it: that is its purpose
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings of an unused address, which the started server reads too."""
    env = environment(unused_address(), tmp_path) | {"LOCALRUN_IDLE_EXIT": "60"}
    for name in ("LOCALRUN_HOST", "LOCALRUN_LOG_DIR", "LOCALRUN_IDLE_EXIT"):
        monkeypatch.setenv(name, env[name])
    return load_settings(env)


def test_a_server_is_started_found_and_stopped(settings: Settings) -> None:
    assert find_server(settings) is None

    client = ensure_server(settings)
    try:
        assert find_server(settings) is not None
        assert client.running() == []
    finally:
        stop_server(client)

    assert find_server(settings) is None


def test_a_server_loads_the_model_of_the_first_request_at_once(settings: Settings) -> None:
    client = ensure_server(settings, FirstRequest(model="guide"))
    try:
        wait_until(client.running)
        (model,) = client.running()

        assert model["name"] == "guide:latest"
    finally:
        stop_server(client)


@pytest.mark.parametrize("name", ["--help", "no such", "--load\nx", "'; exit 1"])
def test_a_model_that_does_not_exist_keeps_no_server_from_starting(
    settings: Settings, name: str
) -> None:
    client = ensure_server(settings, FirstRequest(model=name, num_ctx=8))
    try:
        assert client.states() == []
    finally:
        stop_server(client)


def test_programs_that_start_one_together_share_one(settings: Settings) -> None:
    with ThreadPoolExecutor(2) as threads:
        clients = list(threads.map(ensure_server, [settings] * 2))
    try:
        assert all(client.version() is not None for client in clients)
    finally:
        stop_server(clients[0])

    assert clients[1].version() is None


def test_a_server_that_lost_the_race_does_not_come_later(settings: Settings) -> None:
    client = ensure_server(settings)
    late = launch._spawn(settings.log_dir / "late.log", settings)
    try:
        launch._wait_until_up(settings, late, settings.log_dir / "late.log")

        assert late.poll() is not None
        assert client.version() is not None
    finally:
        stop_server(client)


def test_another_program_at_the_address_is_left_alone(tmp_path: Path) -> None:
    with fake_server() as server:
        server.script.version = {"version": "0.13.5"}
        settings = load_settings(server.environment(tmp_path))

        with pytest.raises(AddressInUseError, match="another program"):
            ensure_server(settings)

    assert list(tmp_path.iterdir()) == []


def test_a_server_is_never_started_for_another_machine(tmp_path: Path) -> None:
    settings = Settings(host="192.0.2.1", port=1, log_dir=tmp_path)  # reserved for documents

    with pytest.raises(ServerUnreachableError, match=r"192\.0\.2\.1:1"):
        ensure_server(settings)

    assert list(tmp_path.iterdir()) == []


def test_a_log_folder_that_cannot_be_written_is_named(settings: Settings, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()

    with pytest.raises(StorageError, match=str(blocked)):
        ensure_server(Settings(host=settings.host, port=settings.port, log_dir=blocked / "logs"))


def test_the_last_words_of_a_server_that_fails_are_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALRUN_IDLE_EXIT", "soon")

    with pytest.raises(ServerUnreachableError, match="LOCALRUN_IDLE_EXIT is not a duration"):
        ensure_server(settings)


def test_the_server_survives_the_program_that_started_it(settings: Settings) -> None:
    code = "import os; from localrun.client.launch import ensure_server as e; "
    code += "from localrun.settings import load_settings as s; e(s(os.environ))"

    subprocess.run([sys.executable, "-c", code], check=True)
    client = find_server(settings)

    assert client is not None
    stop_server(client)
