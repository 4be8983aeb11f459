"""What the program writes for its owner alone, whatever the umask."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.client import launch
from localrun.errors import LocalrunError
from localrun.private import make_private_folder, open_private
from localrun.server.log_file import LOG_FILE, PrivateLog
from localrun.settings import Settings, load_settings
from localrun.store.prompts import PromptFolder

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a home folder in which nothing is yet."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "LOCALRUN_LOG_DIR", "LOCALRUN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def rights_below(folder: Path) -> dict[str, int]:
    return {path.name: rights(path) for path in folder.rglob("*")}


@pytest.mark.usefixtures("umask")
def test_all_folders_of_the_program_are_its_owners(home: Path) -> None:
    settings = load_settings({})

    PrivateLog.in_folder(settings.log_dir).close()
    PromptFolder(settings.prompts_dir, "model")
    make_private_folder(settings.needs_file.parent)

    folders = [path for path in home.rglob("*") if path.is_dir()]
    assert {"localrun", "log", "prompts", "model"} <= {path.name for path in folders}
    assert {rights(path) for path in folders} == {0o700}
    assert {rights(path) for path in home.rglob("*") if path.is_file()} == {0o600}


@pytest.mark.usefixtures("home")
def test_folders_of_an_earlier_version_are_tightened() -> None:
    settings = load_settings({})
    for folder in (settings.log_dir, settings.prompts_dir):
        folder.mkdir(parents=True)
        for part in (folder, folder.parent, folder.parent.parent):
            part.chmod(0o777)

    PrivateLog.in_folder(settings.log_dir).close()
    PromptFolder(settings.prompts_dir, "model")

    for folder in (settings.log_dir, settings.prompts_dir):
        assert (rights(folder), rights(folder.parent)) == (0o700, 0o700)
        assert rights(folder.parent.parent) == 0o777  # not ours


def test_a_folder_that_the_user_named_and_shares_keeps_its_rights(home: Path) -> None:
    shared = home / "shared"
    shared.mkdir(mode=0o755)
    (shared / "other.log").touch()

    PrivateLog.in_folder(shared).close()
    make_private_folder(shared / "new")

    assert rights(shared) == 0o755
    assert rights(shared / "new") == 0o700


@pytest.mark.usefixtures("home")
def test_logs_old_and_rotated_are_tightened(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir(mode=0o755)
    for name in (LOG_FILE, f"{LOG_FILE}.1", f"{LOG_FILE}.3", "server-start.log"):
        (folder / name).touch(mode=0o644)

    log = PrivateLog.in_folder(folder)
    log.emit(logging.LogRecord("x", logging.INFO, "x", 1, "what was asked", None, None))
    log.doRollover()
    log.close()

    assert rights(folder) == 0o700
    assert set(rights_below(folder).values()) == {0o600}
    assert (folder / f"{LOG_FILE}.1").read_text() == "what was asked\n"


@pytest.mark.usefixtures("umask")
def test_what_a_server_says_at_its_start_is_private(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_program(*_: object, **__: object) -> None:
        raise OSError(2, "no such program")

    monkeypatch.setattr("localrun.client.launch.subprocess.Popen", no_program)
    settings = Settings(log_dir=home / "a" / "log")

    with pytest.raises(LocalrunError):
        launch._spawn(settings.log_dir / launch.START_LOG, settings)

    assert rights_below(home) == {"a": 0o700, "log": 0o700, launch.START_LOG: 0o600}


def test_a_private_file_that_is_there_is_tightened() -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).chmod(0o666)
        os.close(open_private(file.name, os.O_RDONLY))

        assert rights(Path(file.name)) == 0o600
