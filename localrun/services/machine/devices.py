"""Device choice, checked against the devices of this machine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.hardware.choice import AUTO, CPU, check_device, choose

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
        reasons = [f"{gpu.what}: {gpu.reason}: {gpu.fix}" for gpu in machine.unused]
        if machine.failure:
            reasons.insert(0, machine.failure)
        hint = "; ".join([*([error.hint] if error.hint else []), *reasons])
        raise UsageError(error.message, hint=hint) from error
    return wanted


def report_unused(
    environ: Mapping[str, str],
    probe: Callable[[Mapping[str, str]], Machine] = _probe,
    *,
    has_cards: bool | None = None,
) -> None:
    """Log unused GPUs and the remedy; probes only if the machine may have a GPU.

    ``has_cards`` is for tests; otherwise the kernel's files show whether there are GPUs.
    """
    if has_cards is None:
        from localrun.hardware.cards import may_have_gpu

        has_cards = may_have_gpu()
    if not has_cards:
        return
    machine = probe(environ)
    for device in machine.devices:
        _log.info("device %s: %s", device.label, device.description)
    for gpu in machine.unused:
        _log.warning("%s is not used: %s; to change that: %s", gpu.what, gpu.reason, gpu.fix)
