"""Check the choice of a device against what the machine has."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.hardware.cards import may_have_gpu
from localrun.hardware.choice import AUTO, CPU, check_device, choose
from localrun.hardware.probe import probe_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.hardware.device import Machine

_log = logging.getLogger(__name__)


def check_choice(
    text: str,
    environ: Mapping[str, str],
    probe: Callable[[Mapping[str, str]], Machine] = probe_machine,
) -> str:
    """Return the choice in its usual form; asks the machine unless it is auto or cpu.

    Raises:
        UsageError: it is no device, or none that this machine has; with what would help.
    """
    wanted = check_device(text)
    if wanted in {AUTO, CPU}:
        return wanted
    machine = probe(environ)
    try:
        choose(machine.devices, wanted, environ)
    except UsageError as error:
        reasons = [f"{one.what}: {one.reason}: {one.fix}" for one in machine.unused]
        if machine.failure:
            reasons.insert(0, machine.failure)
        hint = "; ".join([*([error.hint] if error.hint else []), *reasons])
        raise UsageError(error.message, hint=hint) from error
    return wanted


def report_unused(
    environ: Mapping[str, str],
    probe: Callable[[Mapping[str, str]], Machine] = probe_machine,
    *,
    has_cards: bool | None = None,
) -> None:
    """Log the GPUs that are not used, and what to type; asks only where there may be one.

    ``has_cards`` is for tests; otherwise the kernel's files tell at no cost.
    """
    if has_cards is None:
        has_cards = may_have_gpu()
    if not has_cards:
        return
    machine = probe(environ)
    for device in machine.devices:
        _log.info("device %s: %s", device.label, device.description)
    for one in machine.unused:
        _log.warning("%s is not used: %s; to change that: %s", one.what, one.reason, one.fix)
