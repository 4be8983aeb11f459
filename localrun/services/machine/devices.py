"""Device choice, checked against the devices of this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.hardware.choice import AUTO, CPU, check_device, choose
from localrun.hardware.reasons import absent_device
from localrun.hardware.summary import describe_computing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.hardware.device import Machine

_log = logging.getLogger(__name__)


def _probe(environ: Mapping[str, str]) -> Machine:
    from localrun.hardware.probe import probe_machine  # lazy: few servers name a GPU

    return probe_machine(environ)


def check_choice(
    text: str,
    environ: Mapping[str, str],
    probe: Callable[[Mapping[str, str]], Machine] = _probe,
) -> str:
    """Return the normalized device choice; probes the machine unless it is auto or cpu.

    Raises:
        UsageError: the text is no device, or the machine lacks it; the hint names the remedy.
    """
    wanted = check_device(text)
    if wanted in {AUTO, CPU}:
        return wanted
    machine = probe(environ)
    try:
        choose(machine.devices, wanted, environ)
    except UsageError as error:
        raise absent_device(error, machine) from error
    return wanted


def report_unused(
    environ: Mapping[str, str],
    probe: Callable[[Mapping[str, str]], Machine] = _probe,
    *,
    has_cards: bool | None = None,
    device: str = AUTO,
    names_variant: bool = False,
) -> None:
    """Log what computes, and unused GPUs with the remedy.

    Probes only if the machine may have a GPU, or if ``names_variant`` is true and llama.cpp has
    several variants for CPUs. ``has_cards`` is for tests; otherwise the kernel's files decide.
    """
    if has_cards is None:
        from localrun.hardware.cards import may_have_gpu

        has_cards = may_have_gpu(environ) or (names_variant and has_cpu_variants())
    if not has_cards:
        return
    machine = probe(environ)
    with contextlib.suppress(UsageError):  # the server has refused such a device
        chosen = choose(machine.devices, device, environ)
        _log.info("computing on %s", describe_computing(machine, chosen))
    for found in machine.devices:
        _log.info("device %s: %s", found.label, found.description)
    for gpu in machine.unused:
        _log.warning("%s is not used: %s; to change that: %s", gpu.what, gpu.reason, gpu.fix)
    for missing in machine.missing:
        _log.info("%s: %s", missing.reason, missing.fix)


def describe_device(
    device: str,
    environ: Mapping[str, str],
    probe: Callable[[Mapping[str, str]], Machine] = _probe,
) -> str | None:
    """Return what computes with this choice; None if the machine leaves no choice.

    That is a machine without GPUs whose llama.cpp has one backend for CPUs. It is not probed.
    """
    from localrun.hardware.cards import may_have_gpu

    if not has_cpu_variants() and (device == CPU or not may_have_gpu(environ)):
        return None
    machine = probe(environ)
    with contextlib.suppress(UsageError):
        return describe_computing(machine, choose(machine.devices, device, environ))
    return None


def has_cpu_variants() -> bool:
    """Return whether llama.cpp has several backends for CPUs, by its files."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        return False
    return any(Path(spec.origin).parent.glob("lib/*ggml-cpu-*"))
