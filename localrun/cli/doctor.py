"""``localrun doctor``."""

from __future__ import annotations

from localrun.cli.options import AsJson
from localrun.cli.output import Output


def doctor(*, as_json: AsJson = False) -> None:
    """Check the installation and print a command for each problem.

    Exits with 1 if a problem was found.

    Example: localrun doctor
    """
    import os
    from dataclasses import asdict

    from localrun.services.machine.doctor import Health, examine
    from localrun.services.workspace import open_workspace

    output, findings = Output(as_json=as_json), []
    for finding in examine(open_workspace(os.environ), os.environ):
        findings.append(finding)
        if not as_json:
            fix = f"   {finding.fix}" if finding.fix else ""
            output.line(f"{finding.health.value:8} {finding.what}: {finding.detail}{fix}")
    if as_json:
        output.json([asdict(finding) for finding in findings])
    if any(finding.health is Health.WRONG for finding in findings):
        raise SystemExit(1)
