"""launchd of macOS as the service manager: a property list in the user's LaunchAgents.

Written from launchd.plist(5) and launch_activate_socket(3); it has never run on a Mac. The property
list has the variables of the server, and hence mode 0600.
"""

from __future__ import annotations

import plistlib
import re
from typing import TYPE_CHECKING

from localrun.client.service_address import LAUNCHD_LABEL, activation_file
from localrun.services.system_service.programs import checked, run_program
from localrun.services.system_service.service import ManagerState, ServiceFile
from localrun.system.processes import user_id

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.system_service.programs import RunProgram
    from localrun.services.system_service.service import Service

# as in `localrun.server.listening.activation`, which a service does not import
SOCKET_NAME, ACTIVATED = "Listeners", "LOCALRUN_LAUNCHD"
START_LOG = "server-start.log"
LONGEST_STOP_S = 3600
PROCESS = re.compile(r"^\s*pid = (\d+)", re.MULTILINE)


class Launchd:
    """The user's launchd, asked by launchctl."""

    name = "launchd"

    def __init__(self, run: RunProgram = run_program) -> None:
        self._run = run
        self._domain = f"gui/{user_id()}"

    def check(self) -> None:
        """Raise a BackendError unless there is launchctl."""
        self._run(["launchctl", "version"])

    def paths(self) -> list[Path]:
        """Return the path of the property list."""
        return [activation_file()]

    def files(self, service: Service) -> list[ServiceFile]:
        """Return the property list."""
        stop_s = LONGEST_STOP_S if service.stop_timeout_s is None else service.stop_timeout_s
        socket = {"SockNodeName": service.host, "SockServiceName": str(service.port)}
        content = {
            "Label": LAUNCHD_LABEL,
            "ProgramArguments": list(service.command),
            "EnvironmentVariables": {
                **service.variables,
                "LOCALRUN_HOST": service.address,
                ACTIVATED: "1",
            },
            "Sockets": {SOCKET_NAME: {**socket, "SockType": "stream"}},
            "StandardErrorPath": str(service.log_dir / START_LOG),
            "ExitTimeOut": round(stop_s),
        }
        data = plistlib.dumps(content)
        return [ServiceFile(path=self.paths()[0], content=data, is_private=True)]

    def start(self, *, has_changed: bool) -> None:
        """Load the agent; unload the one before if its file has changed."""
        is_loaded = self._print() is not None
        if is_loaded and has_changed:
            self.stop()
        if has_changed or not is_loaded:
            path = str(self.paths()[0])
            checked(self._run(["launchctl", "bootstrap", self._domain, path]))

    def stop(self) -> None:
        """Unload the agent, which stops the server."""
        self._run(["launchctl", "bootout", f"{self._domain}/{LAUNCHD_LABEL}"])

    def forget(self) -> None:
        """Do nothing: an unloaded agent is forgotten."""

    def state(self) -> ManagerState:
        """Return the state of the agent."""
        text = self._print()
        process = PROCESS.search(text or "")
        return ManagerState(
            is_listening=text is not None,
            is_running=process is not None,
            process=int(process[1]) if process else None,
        )

    def messages(self, num_lines: int) -> str:  # noqa: ARG002 - the server's own log has them
        """Return nothing: the log folder has what the server wrote at its start."""
        return ""

    def notes(self) -> list[str]:
        """Return nothing."""
        return []

    def _print(self) -> str | None:
        done = self._run(["launchctl", "print", f"{self._domain}/{LAUNCHD_LABEL}"])
        return done.stdout if done.returncode == 0 else None
