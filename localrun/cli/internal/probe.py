"""Hidden command of the child process of `localrun.hardware.probe`."""

from __future__ import annotations

from typer import Exit


def probe() -> None:
    """Report the devices to another localrun process; internal."""
    from localrun.engine.llama.probe_child import run_probe

    raise Exit(run_probe())
