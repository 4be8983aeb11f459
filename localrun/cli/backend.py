"""``localrun backend``: backends for GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.services.machine.backends import BackendOverview, BackendRow

ABOUT_BACKEND = "List, add and remove backends for GPUs."


def backend_list(*, as_json: AsJson = False) -> None:
    """List the backends for GPUs and their devices.

    Example: localrun backend list
    """
    import os
    from dataclasses import asdict

    from localrun.services.machine.backends import overview
    from localrun.settings import load_settings

    found, output = overview(load_settings(os.environ), os.environ), Output(as_json=as_json)
    if as_json:
        output.json(asdict(found))
        return
    rows = [(row.backend, row.source, row.state, _details(row)) for row in found.rows]
    if rows:
        output.table(("BACKEND", "FROM", "STATE", "DEVICES"), rows)
    else:
        output.line("no backend for GPUs; localrun backend add FILE_OR_URL   installs one")
    for note in found.notes:
        output.line(note)


def backend_add(
    source: Annotated[
        str, Argument(metavar="FILE_OR_URL", help="Package of a backend; a URL needs a digest.")
    ],
    *,
    sha256: Annotated[
        str | None, Option(help="Digest of the package; also at the end of a URL: #sha256=...")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Install a backend from a file or a URL.

    It must be of the same commit of llama.cpp as this localrun.

    Example: localrun backend add localrun-backend-vulkan-0.3.36-linux-x86_64.zip
    """
    import os
    from dataclasses import asdict

    from localrun.services.machine.backends import add_backend
    from localrun.settings import load_settings

    row = add_backend(source, load_settings(os.environ), os.environ, sha256=sha256)
    output = Output(as_json=as_json)
    if as_json:
        output.json(asdict(row))
    else:
        output.line(f"{row.backend} is installed: {row.state}: {_details(row)}")


def backend_remove(
    name: Annotated[str, Argument(help="Backend: vulkan, cuda or rocm.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Remove an installed backend.

    Example: localrun backend remove vulkan
    """
    from localrun.services.machine.backends import remove_backend

    remove_backend(name)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"removed": name})
    else:
        output.line(f"{name} is removed")


def backend_why(
    *,
    retry: Annotated[
        bool, Option("--retry", help="Try backends again that crashed or hung before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which backend computes, and why the others do not.

    Example: localrun backend why
    """
    import os
    from dataclasses import asdict

    from localrun.services.machine.backends import overview
    from localrun.settings import load_settings

    found = overview(load_settings(os.environ), os.environ, retries=retry)
    output = Output(as_json=as_json)
    if as_json:
        output.json(asdict(found))
    else:
        _show_choice(found, output)


BACKEND_COMMANDS: dict[str, Callable[..., None]] = {
    "list": backend_list,
    "add": backend_add,
    "remove": backend_remove,
    "why": backend_why,
}


def _show_choice(found: BackendOverview, output: Output) -> None:
    output.line(f"computes on {found.computes}")
    for row in found.rows:
        output.line(f"{row.backend} ({row.source}): {row.state}: {_details(row)}")
    for note in found.notes:
        output.line(note)


def _details(row: BackendRow) -> str:
    """Return the devices of a backend, or the reason why it has none."""
    parts = [", ".join(row.devices) or row.reason, row.fix]
    return "   ".join(part for part in parts if part)
