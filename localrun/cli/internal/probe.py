"""The hidden command by which `localrun.hardware.probe` starts its child."""

from __future__ import annotations

from typer import Exit


def probe() -> None:
    """Ask the drivers which devices there are, for another localrun process; not for people."""
    from localrun.engine.llama.probe_child import run_probe

    raise Exit(run_probe())
