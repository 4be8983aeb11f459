"""``localrun upgrade``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output


def upgrade(
    *,
    check: Annotated[
        bool, Option("--check", help="Ask PyPI for the newest version (env: LOCALRUN_INDEX).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the command that upgrades localrun; changes nothing.

    Uses the network only with --check. Nothing else in localrun looks for new
    versions.

    Example: localrun upgrade --check
    """
    import os
    from dataclasses import asdict

    from localrun import __version__
    from localrun.services.upgrade import index_url, newest_version, upgrade_command

    output = Output(as_json=as_json)
    if not check:
        command = upgrade_command()
        if as_json:
            output.json({"installed": __version__, "command": command})
        else:
            output.line(command)
        return
    from localrun.registry.http import Http
    from localrun.settings import load_settings

    index, settings = index_url(os.environ), load_settings(os.environ)
    found = newest_version(Http(os.environ, is_offline=settings.is_offline), index)
    command = upgrade_command(found)
    if as_json:
        output.json({**asdict(found), "command": command})
    elif found.is_newer:
        output.line(f"localrun {found.newest} is available, {found.installed} is installed")
        output.note(f"hint: {command}")
    else:
        output.line(f"localrun {found.installed} is up to date")
