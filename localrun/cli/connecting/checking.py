"""``localrun connect check TOOL``: the requests that the tool sends first, and its files."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.cli.connecting.showing import connected
from localrun.cli.serving.answer import interruptible
from localrun.client.probing import ask_plainly
from localrun.errors import LocalrunError, UsageError
from localrun.integrations.probes import probe_request
from localrun.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localrun.cli.output import Output
    from localrun.integrations.target import ModelRole
    from localrun.integrations.tool import Integration, ProbeKind
    from localrun.services.connecting.connection import ToolConnection
    from localrun.settings import Settings

OK = 200
LONGEST_MESSAGE = 300
FAILED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: what was checked, and what is wrong and what to type, if anything."""

    name: str
    problem: str | None = None
    hint: str | None = None
    is_skipped: bool = False


def check_tool(tool: Integration, wanted: Mapping[ModelRole, str], output: Output) -> None:
    """Print the findings of a tool; exit with 1 if something is wrong."""
    connection = connected(tool, wanted)
    settings = load_settings(os.environ)
    findings = []
    with interruptible():
        for finding in _findings(connection, settings, output):
            findings.append(finding)
            if not output.as_json:
                _print(finding, output)
    output.status("")
    if output.as_json:
        output.json({"name": tool.name, "checks": [_as_json(each) for each in findings]})
    if any(finding.problem is not None for finding in findings):
        raise SystemExit(FAILED)


def _findings(connection: ToolConnection, settings: Settings, output: Output) -> Iterator[Finding]:
    yield from _files(connection)
    for problem in connection.problems():
        yield Finding(name="model", problem=problem.text, hint=problem.hint)
    for probe in connection.tool.probes:
        output.status(f"{probe.value} ...")
        yield _probed(probe, connection, settings)
        output.status("")


def _files(connection: ToolConnection) -> Iterator[Finding]:
    tool = connection.tool
    if tool.settings is None:
        return
    try:
        missing = [str(change.path) for change in connection.changes() if change.is_change]
    except UsageError as error:
        yield Finding(name="settings", problem=error.message, hint=error.hint)
        return
    if missing:
        yield Finding(
            name="settings",
            problem=f"not in {', '.join(missing)}",
            hint=f"localrun connect {tool.name} --write",
        )
        return
    yield Finding(name="settings")


def _probed(probe: ProbeKind, connection: ToolConnection, settings: Settings) -> Finding:
    request = probe_request(probe, connection.target)
    if request is None:
        return Finding(name=probe.value, is_skipped=True)
    key = settings.access.api_key
    credentials = {"Authorization": f"Bearer {key or 'local'}"}
    try:
        status, text = ask_plainly(
            settings,
            request.method,
            request.path,
            request.body,
            credentials | dict(request.headers),
        )
    except LocalrunError as error:
        return Finding(name=probe.value, problem=error.message, hint=error.hint)
    if status != OK:
        message, hint = _reported(text)
        return Finding(name=probe.value, problem=f"HTTP {status}: {message}", hint=hint)
    return Finding(name=probe.value, problem=_error_in_stream(text) or request.check(text))


def _reported(text: str) -> tuple[str, str | None]:
    """Return the message and the hint of an error in any of the server's dialects."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text[:LONGEST_MESSAGE] or "no reason", None
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        hint = error.get("hint")
        return str(error.get("message"))[:LONGEST_MESSAGE], hint if isinstance(hint, str) else None
    return str(error)[:LONGEST_MESSAGE], None


def _error_in_stream(text: str) -> str | None:
    """Return the message of an error event in an answer that had begun."""
    for line in text.splitlines():
        data = line.removeprefix("data: ")
        if '"error"' in data and data.startswith("{"):
            event = json.loads(data) if data.endswith("}") else {}
            if isinstance(event, dict) and event.get("error"):
                return _reported(data)[0]
    return None


def _print(finding: Finding, output: Output) -> None:
    if finding.is_skipped:
        output.line(f"-     {finding.name}: no model for it")
    elif finding.problem is None:
        output.line(f"ok    {finding.name}")
    else:
        output.line(f"FAIL  {finding.name}: {finding.problem}")
        if finding.hint:
            output.line(f"      {finding.hint}")


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.name,
        "ok": finding.problem is None,
        "skipped": finding.is_skipped,
        "problem": finding.problem,
        "hint": finding.hint,
    }
