"""The service of the user: its files, and what the service manager is asked to do."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from localrun.errors import AddressInUseError, BackendError, NotFoundError, UsageError
from localrun.services.system_service.description import describe_service, own_program
from localrun.services.system_service.installation import (
    examine_service,
    install_service,
    uninstall_service,
)
from localrun.services.system_service.launchd import Launchd
from localrun.services.system_service.systemd import Systemd
from localrun.services.system_service.task import TaskScheduler
from localrun.services.system_service.units import command_line, environment_file
from localrun.settings import load_settings
from localrun.system.processes import user_id
from tests.cli.fake_server import unused_address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.services.system_service.service import Service, ServiceManager

KEY = 'k"e$y`\\'


class FakePrograms:
    """systemctl, launchctl and the like: they note their arguments and say what a test wants."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.output: dict[str, str] = {}  # by the last argument
        self.failing: dict[str, str] = {}

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.calls.append(list(command))
        stderr = next((self.failing[word] for word in command if word in self.failing), "")
        output = self.output.get(command[-1], "")
        return subprocess.CompletedProcess(list(command), int(bool(stderr)), output, stderr)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home of our own, in which no service is installed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def programs() -> FakePrograms:
    return FakePrograms()


def described(home: Path, **variables: str) -> Service:
    environ = {"LOCALRUN_HOST": unused_address(), "LOCALRUN_LOG_DIR": str(home / "log")}
    environ |= variables
    return describe_service(load_settings(environ), environ, {"HF_TOKEN": "t"})


def installed(manager: ServiceManager, service: Service) -> bool:
    return install_service(manager, service, load_settings({"LOCALRUN_HOST": service.address}))


def test_installing_twice_changes_nothing_and_uninstalling_leaves_nothing(
    home: Path, programs: FakePrograms
) -> None:
    manager, service = Systemd(programs), described(home)
    other = home / ".config" / "systemd" / "user" / "other.service"
    other.parent.mkdir(parents=True)
    other.touch()

    assert installed(manager, service)
    assert not installed(manager, service)
    assert ["systemctl", "--user", "enable", "--now", "localrun.socket"] in programs.calls
    assert sum("daemon-reload" in call for call in programs.calls) == 1

    removed = uninstall_service(manager)
    assert ["systemctl", "--user", "disable", "--now", "localrun.socket"] in programs.calls
    assert len(removed) == 3
    assert [path for path in (home / ".config").rglob("*") if path.is_file()] == [other]
    with pytest.raises(NotFoundError, match="no service is installed"):
        uninstall_service(manager)


def test_only_the_owner_can_read_the_variables(home: Path, programs: FakePrograms) -> None:
    service = described(home, LOCALRUN_API_KEY=KEY, LOCALRUN_WARM="0", OTHER="x")

    installed(Systemd(programs), service)

    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in (home / ".config").rglob("*")
        if path.is_file()
    }
    assert modes == {"localrun.socket": 0o644, "localrun.service": 0o644, "service.env": 0o600}
    text = (home / ".config" / "localrun" / "service.env").read_text()
    assert 'LOCALRUN_API_KEY="k\\"e\\$y\\`\\\\"\n' in text
    assert 'HF_TOKEN="t"\n' in text
    assert "OTHER" not in text
    assert "LOCALRUN_WARM" not in text
    assert KEY not in repr(service)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("is_sandboxed", [False, True])
def test_systemd_accepts_the_units(
    home: Path, programs: FakePrograms, *, is_sandboxed: bool
) -> None:
    environ = {"LOCALRUN_HOST": "[::1]:12345", "LOCALRUN_DRAIN": "-1"}
    settings = load_settings(environ)
    service = describe_service(settings, environ, {}, is_sandboxed=is_sandboxed)
    installed(Systemd(programs), service)
    units = home / ".config" / "systemd" / "user"
    environ = dict(os.environ) | {"XDG_RUNTIME_DIR": str(home), "LC_ALL": "C"}

    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", *sorted(units.glob("localrun.*"))],
        check=False, capture_output=True, text=True, env=environ,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["/usr/bin/localrun", "serve"], "/usr/bin/localrun serve"),
        (["/a b/l", '"', "\\"], '"/a b/l" "\\"" "\\\\"'),
        (["/100%/$x", ""], '"/100%%/$$x" ""'),
    ],
)
def test_arguments_of_a_command_are_quoted(words: list[str], text: str) -> None:
    assert command_line(words) == text


def test_a_shell_reads_an_environment_file_as_systemd_does() -> None:
    value = "a \"b\" $c `d` \\e 'f' #g"

    text = environment_file({"VALUE": value})

    done = subprocess.run(
        ["sh", "-c", f'{text}printf %s "$VALUE"'], check=True, capture_output=True, text=True
    )
    assert done.stdout == value


def test_the_status_is_that_of_the_units(home: Path, programs: FakePrograms) -> None:
    manager, service = Systemd(programs), described(home)
    settings = load_settings({"LOCALRUN_HOST": service.address})
    assert not examine_service(manager, settings).is_installed
    installed(manager, service)
    programs.output["localrun.socket"] = "ActiveState=active\nResult=success\n"
    programs.output["localrun.service"] = (
        "ActiveState=failed\nResult=exit-code\nExecMainStatus=2\nMainPID=0\n"
    )

    status = examine_service(manager, settings)

    assert status.is_installed
    assert status.state.is_listening
    assert not status.state.is_running
    assert status.state.problem == "localrun.service has failed: exit-code, exit code 2"


def test_a_machine_without_systemd_gets_the_alternative(home: Path, programs: FakePrograms) -> None:
    programs.failing["show"] = "Failed to connect to bus: No medium found\n"

    with pytest.raises(BackendError, match="systemd does not answer for this user: Failed") as end:
        installed(Systemd(programs), described(home))

    assert "localrun serve --background" in str(end.value.hint)
    assert not (home / ".config").exists()


def test_a_machine_without_systemctl_gets_the_alternative(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))

    with pytest.raises(BackendError, match="systemctl cannot be run") as caught:
        installed(Systemd(), described(home))

    assert "localrun serve --background" in str(caught.value.hint)


def test_uninstalling_works_without_the_manager(home: Path, programs: FakePrograms) -> None:
    installed(Systemd(programs), described(home))
    programs.failing["disable"] = programs.failing["daemon-reload"] = "no bus"

    assert len(uninstall_service(Systemd(programs))) == 3


def test_an_address_in_use_is_refused(home: Path, programs: FakePrograms) -> None:
    from tests.cli.fake_server import fake_server

    with fake_server() as server:
        environ = server.environment(home)
        settings = load_settings(environ)
        service = describe_service(settings, environ, {})

        with pytest.raises(AddressInUseError, match="no service listens"):
            install_service(Systemd(programs), service, settings)

    assert not (home / ".config").exists()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LOCALRUN_HOST": "0.0.0.0:11435"}, "no API key"),
        ({"LOCALRUN_HOST": "127.0.0.1:0"}, "needs a port"),
        ({"LOCALRUN_HOST": "example.org:1", "LOCALRUN_API_KEY": "k"}, "numeric address"),
        ({"LOCALRUN_MODELS": "a\nb"}, "control character"),
    ],
)
def test_what_no_service_can_be_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        describe_service(load_settings(variables), variables, {})


def test_paths_of_the_service_are_absolute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)

    service = described(home, LOCALRUN_MODELS="models", LOCALRUN_EXTRA_MODELS="~/a:b")

    assert service.variables["LOCALRUN_MODELS"] == str(home / "models")
    assert service.variables["LOCALRUN_EXTRA_MODELS"] == f"{home}/a:{home}/b"
    assert describe_service(
        load_settings({"LOCALRUN_HOST": "localhost:80"}), {}, {}
    ).address == "127.0.0.1:80"  # fmt: skip


def test_the_program_of_the_service_is_the_one_that_was_started(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = home / "bin" / "localrun"
    program.parent.mkdir()
    program.touch(mode=0o755)
    (home / "link").symlink_to(program)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.chdir(home)

    assert own_program("localrun") == (str(program),)
    assert own_program("bin/localrun") == (str(program),)
    assert own_program(str(home / "link")) == (str(home / "link"),)  # outlives updates
    assert own_program("/x/__main__.py") == (sys.executable, "-P", "-m", "localrun")


def test_launchd_gets_a_socket_and_the_variables(home: Path, programs: FakePrograms) -> None:
    manager, service = Launchd(programs), described(home, LOCALRUN_API_KEY=KEY)
    (file,) = manager.files(service)

    content = plistlib.loads(file.content)

    assert file.is_private
    assert content["ProgramArguments"][-2:] == ["serve", "--background"]
    assert content["Sockets"]["Listeners"]["SockServiceName"] == str(service.port)
    assert content["EnvironmentVariables"]["LOCALRUN_API_KEY"] == KEY
    assert f">{service.address}<" in file.content.decode()
    programs.failing["print"] = "Could not find service"
    manager.start(has_changed=True)
    assert [call[1] for call in programs.calls] == ["print", "bootstrap"]


def test_launchd_reports_the_process(programs: FakePrograms) -> None:
    manager = Launchd(programs)
    programs.output[f"gui/{user_id()}/localrun.server"] = "x = {\n\tstate = running\n\tpid = 12\n"

    assert json.dumps([manager.state().is_running, manager.state().process]) == "[true, 12]"
    manager.stop()
    assert programs.calls[-1][:2] == ["launchctl", "bootout"]


def test_the_task_of_windows_starts_a_server_that_stays(home: Path, programs: FakePrograms) -> None:
    manager, service = TaskScheduler(programs), described(home, LOCALRUN_API_KEY=KEY)

    assert installed(manager, service)

    task = ET.fromstring(manager.paths()[0].read_bytes())  # noqa: S314 - our own
    texts = [text.strip() for text in task.itertext() if text.strip()]
    assert "serve --background --stay" in texts[-1]
    assert KEY not in "".join(texts)
    assert [call[1] for call in programs.calls[-2:]] == ["/create", "/run"]
    uninstall_service(manager)
    assert programs.calls[-1][:2] == ["schtasks", "/delete"]
    assert not manager.paths()[0].exists()
