"""Task Scheduler of Windows as the service manager: a task that starts the server at login.

Written from the documentation of schtasks and of its XML schema; it has never run on Windows. A
task has no sockets, so that the server stays until it is stopped, and no variables of its own: it
reads those of the user, which `setx` sets.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.folders import config_folder
from localrun.services.system_service.programs import checked, run_program
from localrun.services.system_service.service import ManagerState, ServiceFile

if TYPE_CHECKING:
    from localrun.services.system_service.programs import RunProgram
    from localrun.services.system_service.service import Service

TASK = "localrun"
RUNNING = "267009"  # SCHED_S_TASK_RUNNING, which is in the list under any language
XML = """\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>localrun model server</Description></RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled><UserId>{user}</UserId></LogonTrigger></Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{user}</UserId>
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>5</Count></RestartOnFailure>
    <Hidden>true</Hidden>
  </Settings>
  <Actions Context="Author">
    <Exec><Command>{command}</Command><Arguments>{arguments}</Arguments></Exec>
  </Actions>
</Task>
"""


class TaskScheduler:
    """The Task Scheduler, asked by schtasks."""

    name = "Task Scheduler"

    def __init__(self, run: RunProgram = run_program) -> None:
        self._run = run

    def check(self) -> None:
        """Raise a BackendError unless there is schtasks."""
        self._run(["schtasks", "/query", "/?"])

    def paths(self) -> list[Path]:
        """Return the path of the description of the task."""
        return [config_folder() / "task.xml"]

    def files(self, service: Service) -> list[ServiceFile]:
        """Return the description of the task, which has no variables."""
        from xml.sax.saxutils import escape  # brings urllib.request, email and ssl

        program, *arguments = (*_without_window(service.command), "--stay")
        text = XML.format(
            user=escape(_user()),
            command=escape(program),
            arguments=escape(subprocess.list2cmdline(arguments)),
        )
        return [ServiceFile(path=self.paths()[0], content=text.encode("utf-16"))]

    def start(self, *, has_changed: bool) -> None:
        """Create the task, and start it."""
        if has_changed:
            self._run(["schtasks", "/end", "/tn", TASK])
        xml = str(self.paths()[0])
        checked(self._run(["schtasks", "/create", "/tn", TASK, "/xml", xml, "/f"]))
        checked(self._run(["schtasks", "/run", "/tn", TASK]))

    def stop(self) -> None:
        """Stop the server, and delete the task."""
        self._run(["schtasks", "/end", "/tn", TASK])
        self._run(["schtasks", "/delete", "/tn", TASK, "/f"])

    def forget(self) -> None:
        """Do nothing: a deleted task is forgotten."""

    def state(self) -> ManagerState:
        """Return the state of the task, which never listens for the server."""
        done = self._run(["schtasks", "/query", "/tn", TASK, "/v", "/fo", "csv", "/nh"])
        return ManagerState(is_listening=False, is_running=RUNNING in done.stdout)

    def messages(self, num_lines: int) -> str:  # noqa: ARG002 - the server's own log has them
        """Return nothing: a task keeps no output."""
        return ""

    def notes(self) -> list[str]:
        """Return where the server has its settings from."""
        return ["the server reads the variables of your account: `setx LOCALRUN_HOST ...` sets one"]


def _user() -> str:
    domain, name = (os.environ.get(each, "") for each in ("USERDOMAIN", "USERNAME"))
    return f"{domain}\\{name}" if domain else name


def _without_window(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command of Python without a console window, if it is one of Python."""
    program = Path(command[0])
    windowless = program.with_name("pythonw.exe")
    if program.name.lower() != "python.exe" or not windowless.exists():
        return command
    return (str(windowless), *command[1:])
