"""``localrun service``: the server as a service of the system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Option

from localrun.cli.options import AsJson, DeviceOption, parse_variables
from localrun.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.services.system_service.installation import ServiceStatus

ABOUT_SERVICE = """Let the system start the server with the first request.

It costs nothing until then, and leaves when it is idle.

Example: localrun service install
"""
NUM_LINES = 50


def service_install(
    *,
    host: Annotated[
        str | None,
        Option(help="Address to listen on, such as 127.0.0.1:8080 (env: LOCALRUN_HOST)."),
    ] = None,
    models: Annotated[str | None, Option(help="Folder of models (env: LOCALRUN_MODELS).")] = None,
    device: DeviceOption = None,
    variables: Annotated[
        list[str] | None,
        Option("--env", metavar="NAME=VALUE", help="Variable of the server, such as HF_TOKEN=..."),
    ] = None,
    sandbox: Annotated[
        bool,
        Option("--sandbox", help="Restrict the server's system calls; commands start slower."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Install the service, or bring it up to date.

    The server keeps all LOCALRUN_* variables that are set now, in a file that
    only you can read.

    Example: localrun service install
    """
    import os

    from localrun.services.system_service.description import describe_service
    from localrun.services.system_service.installation import install_service, service_manager
    from localrun.settings import load_settings

    flags = {"LOCALRUN_HOST": host, "LOCALRUN_MODELS": models, "LOCALRUN_DEVICE": device}
    named = {name: value for name, value in flags.items() if value}
    named |= parse_variables(variables or [])
    environ = {**os.environ, **named}
    settings = load_settings(environ)
    service = describe_service(settings, environ, named, is_sandboxed=sandbox)
    manager = service_manager()
    has_changed = install_service(manager, service, settings)
    kept = sorted(service.variables)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"address": service.address, "changed": has_changed, "variables": kept})
        return
    state = "installed" if has_changed else "up to date"
    output.line(f"{state}: {service.address}, by {manager.name}")
    output.note(f"kept: {', '.join(kept) or 'no variable'}")
    for note in manager.notes():
        output.note(f"note: {note}")


def service_status(*, as_json: AsJson = False) -> None:
    """Show whether the service is installed, listens and runs.

    Starts nothing. Exits with 3 if no service is installed.

    Example: localrun service status
    """
    import os

    from localrun import __version__
    from localrun.client.service_address import service_address
    from localrun.services.system_service.installation import (
        check_installed,
        examine_service,
        service_manager,
    )
    from localrun.settings import load_settings

    manager = service_manager()
    address = service_address()
    at_address = {"LOCALRUN_HOST": address} if address else {}
    status = examine_service(manager, load_settings({**os.environ, **at_address}))
    if as_json:
        Output(as_json=True).json(_as_json(status))
        return
    check_installed(manager)
    state = status.state
    running = f"process {state.process}" if state.process else "yes"
    version = status.server_version or "unknown"
    rows = [
        ("manager", status.manager),
        ("files", ", ".join(map(str, status.files))),
        *([("address", status.address)] if status.address else []),
        ("listening", "yes" if state.is_listening else "no"),
        ("running", running if state.is_running else "no"),
        (
            "version",
            f"{__version__}, the server's is {version}" if state.is_running else __version__,
        ),
        *([("problem", state.problem)] if state.problem else []),
    ]
    Output().table((), rows)
    if state.problem:
        Output().note("hint: localrun service logs")


def service_logs(
    *,
    num_lines: Annotated[int, Option("--lines", "-n", min=1, help="Number of lines.")] = NUM_LINES,
    follow: Annotated[bool, Option("--follow", "-f", help="Wait for more lines.")] = False,
) -> None:
    """Print the log of the server, and what the service manager wrote about it.

    Example: localrun service logs -n 20
    """
    import os

    from localrun.services.system_service.installation import check_installed, service_manager
    from localrun.services.system_service.logs import log_files, new_lines
    from localrun.settings import load_settings

    manager, output = service_manager(), Output()
    check_installed(manager)
    files = log_files(load_settings(os.environ).log_dir)
    messages = manager.messages(num_lines)
    if messages:
        output.note(f"messages of {manager.name}:")
        output.text(messages)
    for path in files:
        output.note(f"{path}:")
        for line in new_lines(path, num_lines, follow=follow and path == files[-1]):
            output.line(line)


def service_uninstall(*, as_json: AsJson = False) -> None:
    """Stop the service and remove its files; models and logs stay.

    Example: localrun service uninstall
    """
    from localrun.services.system_service.installation import service_manager, uninstall_service

    removed = uninstall_service(service_manager())
    output = Output(as_json=as_json)
    if as_json:
        output.json({"removed": [str(path) for path in removed]})
    else:
        output.line("uninstalled")
        for path in removed:
            output.note(f"removed {path}")


SERVICE_COMMANDS: dict[str, Callable[..., None]] = {
    "install": service_install,
    "status": service_status,
    "logs": service_logs,
    "uninstall": service_uninstall,
}


def _as_json(status: ServiceStatus) -> dict[str, object]:
    from localrun import __version__

    return {
        "manager": status.manager,
        "installed": status.is_installed,
        "address": status.address,
        "files": [str(path) for path in status.files],
        "listening": status.state.is_listening,
        "running": status.state.is_running,
        "pid": status.state.process,
        "problem": status.state.problem,
        "version": __version__,
        "server_version": status.server_version,
    }
