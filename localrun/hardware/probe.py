"""Probe of the machine's devices, in a child process that a broken driver may crash.

If a driver hangs, crashes or writes nonsense, the lines that the child wrote before are used. If it
happens in the code of a backend, the backend is remembered, and the machine is probed again without
it. If llama.cpp's devices are lacking still, the machine has only its processor, and the reason is
reported.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.backends.failures import FAILED_LIBRARIES, RememberedFailures
from localrun.hardware.cpu import read_cpu
from localrun.hardware.device import Device, DeviceKind, Machine
from localrun.hardware.report import ProbeReport, read_report
from localrun.hardware.unused import Surroundings, find_missing, find_unused
from localrun.program import program_command
from localrun.system.processes import kill_group, signal_name, spawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.hardware.device import Cpu

_log = logging.getLogger(__name__)

TIMEOUT_S = 20.0  # drivers of machines with eight cards need half of this
KILL_TIMEOUT_S = 2.0
MAX_BYTES = 1_000_000
MAX_FAILED = 4  # backends that fail in one probe
PROBE_ENVIRONMENT = {"GGML_NO_BACKTRACE": "1"}  # as for runners: no debugger in abort()


def probe_machine(
    environ: Mapping[str, str],
    *,
    command: Sequence[str] | None = None,
    timeout_s: float = TIMEOUT_S,
    failures: RememberedFailures | None = None,
) -> Machine:
    """Return the devices and the processor; blocks about half a second, at most ``timeout_s``.

    It blocks as long again after each backend that fails for the first time; ``failures``
    remembers them. The child gets ``environ`` with the variables that hide devices. Free memory
    is measured now: probe again before a later decision.
    """
    order = [*(command or [*program_command(), "probe"])]
    report, ending = _ask(order, environ, timeout_s, failures or RememberedFailures(environ))
    cpu = read_cpu()
    failure = None
    if report.devices is None:
        failure = report.failed or f"the devices could not be asked: the probe {ending}"
        _log.warning("%s; only the processor is used", failure)
    elif ending != "ended":
        _log.info("the probe %s after llama.cpp had answered", ending)
    devices = tuple(_with_driver(device, report) for device in report.devices or [_plain(cpu)])
    return Machine(
        devices=devices,
        cpu=cpu,
        unused=find_unused(devices, report, Surroundings.of_this_process(environ)),
        missing=find_missing(devices, report.engine),
        failure=failure,
        backends=tuple(report.backends),
        engine=report.engine,
        cpu_variant=report.cpu_variant,
    )


def _ask(
    command: list[str], environ: Mapping[str, str], timeout_s: float, failures: RememberedFailures
) -> tuple[ProbeReport, str]:
    """Return the report, and how the child ended; ask again without backends that fail."""
    failed: list[str] = []
    while True:
        text, ending = _run(command, {**environ, FAILED_LIBRARIES: "\n".join(failed)}, timeout_s)
        report = read_report(text)
        if report.loading is None or len(failed) == MAX_FAILED:
            return report, ending
        backend, library = report.loading
        _log.warning("the probe %s in %s, which is skipped", ending, _named(backend))
        failures.add(backend, Path(library), ending)
        failed.append(f"{library}\t{ending}")


def _named(part: str) -> str:
    """Return a text for the part of the probe that failed: ``cuda``, or ``nvidia_cards``."""
    driver = part.removesuffix("_cards")
    return f"the {part} backend" if driver == part else f"the search for cards by {driver}"


def _run(command: list[str], environ: Mapping[str, str], timeout_s: float) -> tuple[str, str]:
    """Return the output of the child, and a text of how it ended."""
    with tempfile.TemporaryFile() as out:  # no pipe: a grandchild could keep it open
        try:
            child = spawn(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out.fileno(),
                stderr=subprocess.DEVNULL,
                environ={**environ, **PROBE_ENVIRONMENT},
            )
        except OSError as error:
            return "", f"cannot be started: {error.strerror}"
        ending = _wait(child, timeout_s)
        out.seek(0)
        return out.read(MAX_BYTES).decode(errors="replace"), ending


def _wait(child: subprocess.Popen[bytes], timeout_s: float) -> str:
    try:
        return _ending(child.wait(timeout_s))
    except subprocess.TimeoutExpired:
        _kill(child)
        return f"took more than {timeout_s:g} s"
    except BaseException:  # Ctrl-C
        _kill(child)
        raise


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and its own children, such as nvidia-smi.

    A child that hangs inside a driver may not die soon, so this waits `KILL_TIMEOUT_S` at most.
    """
    kill_group(child)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(KILL_TIMEOUT_S)


def _ending(code: int) -> str:
    if code == 0:
        return "ended"
    if code < 0:
        return f"was killed by {signal_name(-code)}"
    return f"failed with exit code {code}"


def _plain(cpu: Cpu) -> Device:
    """Return the processor as llama.cpp would list it."""
    return Device(
        backend="CPU",
        index=0,
        name="CPU",
        description=cpu.name,
        kind=DeviceKind.CPU,
        total_bytes=cpu.total_bytes,
        free_bytes=cpu.available_bytes,
    )


def _with_driver(device: Device, report: ProbeReport) -> Device:
    """Return the device with the version of its driver, which llama.cpp does not report."""
    for card in report.cards:
        is_same = (
            card.unit_id == device.unit_id if device.unit_id else card.name == device.description
        )
        if is_same and card.driver:
            return replace(device, driver=card.driver)
    return device
