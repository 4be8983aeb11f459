"""systemd of the user as the service manager: a socket unit and a service unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.client.service_address import SOCKET_UNIT, activation_file
from localrun.folders import config_folder
from localrun.services.system_service.programs import checked, run_program
from localrun.services.system_service.service import ManagerState, ServiceFile, no_manager
from localrun.services.system_service.units import environment_file, service_unit, socket_unit

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.system_service.programs import RunProgram
    from localrun.services.system_service.service import Service

SERVICE_UNIT = "localrun.service"
UNITS = (SERVICE_UNIT, SOCKET_UNIT)
PROPERTIES = "ActiveState,SubState,Result,MainPID,ExecMainStatus"
JOURNAL_OPTIONS = ("--no-pager", "--output=short-iso", "--quiet")


class Systemd:
    """The user's systemd, asked by systemctl."""

    name = "systemd"

    def __init__(self, run: RunProgram = run_program) -> None:
        self._run = run

    def check(self) -> None:
        """Raise a BackendError unless systemd answers for this user."""
        done = self._run(["systemctl", "--user", "show", "--property=Version"])
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["it gives no reason"]
            raise no_manager(f"systemd does not answer for this user: {lines[0]}")

    def paths(self) -> list[Path]:
        """Return the paths of the units, and of the variables of the server."""
        socket = activation_file()
        return [socket, socket.with_name(SERVICE_UNIT), config_folder() / "service.env"]

    def files(self, service: Service) -> list[ServiceFile]:
        """Return the units, and the file of variables."""
        socket, unit, environment = self.paths()
        return [
            ServiceFile(path=socket, content=socket_unit(service).encode()),
            ServiceFile(path=unit, content=service_unit(service, environment).encode()),
            ServiceFile(
                path=environment,
                content=environment_file(service.variables).encode(),
                is_private=True,
            ),
        ]

    def start(self, *, has_changed: bool) -> None:
        """Enable the socket; stop the server before, if it runs with other files."""
        if has_changed:
            self._systemctl("daemon-reload")
            self._systemctl("stop", *UNITS)
            self._systemctl("reset-failed", *UNITS, may_fail=True)
        self._systemctl("enable", "--now", SOCKET_UNIT)

    def stop(self) -> None:
        """Stop the server and the socket, which does not come back after a login."""
        self._systemctl("disable", "--now", SOCKET_UNIT, may_fail=True)
        self._systemctl("stop", *UNITS, may_fail=True)

    def forget(self) -> None:
        """Make systemd read that the units are gone."""
        self._systemctl("daemon-reload")
        self._systemctl("reset-failed", *UNITS, may_fail=True)

    def state(self) -> ManagerState:
        """Return the state of the units."""
        service, socket = (self._properties(unit) for unit in UNITS)
        process = int(service.get("MainPID") or 0)
        return ManagerState(
            is_listening=socket.get("ActiveState") == "active",
            is_running=service.get("ActiveState") in {"active", "activating", "reloading"},
            process=process or None,
            problem=_problem(SERVICE_UNIT, service) or _problem(SOCKET_UNIT, socket),
        )

    def messages(self, num_lines: int) -> str:
        """Return the journal of the units; empty if this user may not read it."""
        units = [f"--user-unit={unit}" for unit in UNITS]
        command = ["journalctl", *units, f"--lines={num_lines}", *JOURNAL_OPTIONS]
        done = self._run(command)
        return done.stdout if done.returncode == 0 else ""

    def notes(self) -> list[str]:
        """Return how to keep the service without a login."""
        return ["it runs while you are logged in; `loginctl enable-linger` keeps it after that"]

    def _systemctl(self, verb: str, *words: str, may_fail: bool = False) -> None:
        done = self._run(["systemctl", "--user", verb, *words])
        if not may_fail:
            checked(done)

    def _properties(self, unit: str) -> dict[str, str]:
        command = ["systemctl", "--user", "show", f"--property={PROPERTIES}", unit]
        lines = checked(self._run(command)).splitlines()
        return dict(line.split("=", maxsplit=1) for line in lines if "=" in line)


def _problem(unit: str, properties: dict[str, str]) -> str | None:
    result = properties.get("Result", "success")
    if properties.get("ActiveState") != "failed" or result == "success":
        return None
    status = properties.get("ExecMainStatus", "0")
    code = f", exit code {status}" if result == "exit-code" else ""
    return f"{unit} has failed: {result}{code}"
