"""Description of the service to install, from the settings and the environment of the command.

Kept are the variables that decide where the server listens and where its files are: ``LOCALRUN_*``
and the base folders of XDG. Paths in them become absolute, because the service has another working
folder.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.program import BINARY, binary_file, program_command
from localrun.services.system_service.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.settings import Settings

PREFIX = "LOCALRUN_"
FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
NOT_KEPT = frozenset({BINARY, "LOCALRUN_WARM"})  # of one process
PATHS = frozenset({
    "LOCALRUN_API_KEY_FILE", "LOCALRUN_CACHE", "LOCALRUN_CATALOG", "LOCALRUN_EXTRA_MODELS",
    "LOCALRUN_LOG_DIR", "LOCALRUN_MODELS", "LOCALRUN_TLS_CERT", "LOCALRUN_TLS_KEY",
})  # fmt: skip
LOCALHOST = "localhost"
FLUSH_S = 15.0  # after the answers, until runners have ended


def describe_service(
    settings: Settings,
    environ: Mapping[str, str],
    named: Mapping[str, str],
    *,
    is_sandboxed: bool = False,
) -> Service:
    """Return the service that runs this program with these settings.

    ``named`` are variables that are kept whatever their names.

    Raises:
        UsageError: the address has a name that a service manager cannot listen on, or no port;
            or other machines can reach it, and there is no API key.
    """
    if not settings.is_loopback and not settings.access.has_key:
        raise UsageError(
            f"{settings.host} lets other machines use this server, and no API key is set",
            hint="export LOCALRUN_API_KEY=$(openssl rand -hex 32)",
        )
    host = _numeric(settings.host)
    address = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
    if settings.port == 0:
        raise UsageError("a service needs a port", hint="LOCALRUN_HOST=127.0.0.1:11435")
    return Service(
        program=own_program(sys.argv[0]),
        host=host,
        port=settings.port,
        address=address,
        variables=kept_variables(environ, named),
        log_dir=settings.log_dir,
        stop_timeout_s=None if settings.drain_s is None else settings.drain_s + FLUSH_S,
        is_sandboxed=is_sandboxed,
    )


def kept_variables(environ: Mapping[str, str], named: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the service: those of this program, and those in ``named``.

    Raises:
        UsageError: a value has a control character.
    """
    own = {
        name: value
        for name, value in environ.items()
        if value and name not in NOT_KEPT and (name.startswith(PREFIX) or name in FOLDERS)
    }
    kept = {}
    for name, value in {**own, **named}.items():
        if not value.isprintable():
            raise UsageError(f"{name} contains a control character")
        kept[name] = _absolute(value) if name in PATHS else value
    return kept


def own_program(argument: str) -> tuple[str, ...]:
    """Return the command of this program: the file that was started if it is a program."""
    binary = binary_file()
    if binary is not None:
        return (binary,)
    found = argument if os.sep in argument else shutil.which(argument)
    path = Path(os.path.abspath(found or argument))  # noqa: PTH100 - keeps links, which outlive updates
    if path.suffix != ".py" and path.is_file() and os.access(path, os.X_OK):
        return (str(path),)
    return tuple(program_command())


def _numeric(host: str) -> str:
    if host == LOCALHOST:
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError as error:
        raise UsageError(
            f"a service needs a numeric address, not {host}", hint="--host 127.0.0.1:11435"
        ) from error


def _absolute(paths: str) -> str:
    each = paths.split(os.pathsep)
    return os.pathsep.join(str(Path(path).expanduser().absolute()) for path in each if path)
