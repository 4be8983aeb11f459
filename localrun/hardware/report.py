"""Report of the probe: JSON objects, one per line, so that a crash loses only later lines.

    {"devices": [{"backend": "CUDA", "index": 0, "name": "CUDA0", ...}, ...]}
    {"unloaded": {"cuda": "libcudart.so.13: cannot open shared object file"}}
    {"cards": [{"maker": "NVIDIA", "name": "...", "unit_id": "0000:c1:00.0", ...}, ...]}
    {"failed": "why llama.cpp could not be asked"}

The parent trusts none of it: a line of another form is ignored.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from localrun.hardware.device import Device, DeviceKind

MAX_DEVICES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A GPU that the machine has, whether or not llama.cpp can use it."""

    maker: str  # "NVIDIA", "AMD", "Intel", "Apple", "" if unknown
    name: str
    source: str  # that listed it: "nvml", "kfd", "pci", "vulkan", "platform"
    unit_id: str | None = None
    driver: str | None = None
    cuda: str | None = None  # the newest CUDA that the driver runs
    has_driver: bool = True


@dataclass(slots=True)
class ProbeReport:
    """The lines of a probe before it ended."""

    devices: list[Device] | None = None  # None = no such line
    cards: list[Card] = field(default_factory=list)
    unloaded: dict[str, str] = field(default_factory=dict)  # backend -> the linker's reason
    failed: str | None = None


def write_line(**parts: object) -> str:
    """Return a line of the report."""
    return json.dumps({name: _plain(value) for name, value in parts.items()}) + "\n"


def read_report(text: str) -> ProbeReport:
    """Parse a report, ignoring lines of another form."""
    report = ProbeReport()
    for line in text.splitlines():
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict):
            _take(report, message)
    return report


def _take(report: ProbeReport, message: dict[str, Any]) -> None:
    for name, value in message.items():
        if name == "devices" and isinstance(value, list):
            report.devices = [device for item in value[:MAX_DEVICES] if (device := _device(item))]
        elif name == "cards" and isinstance(value, list):
            report.cards += [card for item in value[:MAX_DEVICES] if (card := _card(item))]
        elif name == "unloaded" and isinstance(value, dict):
            report.unloaded |= {str(key): str(reason) for key, reason in value.items()}
        elif name == "failed" and isinstance(value, str):
            report.failed = value


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [asdict(item) for item in value]
    return value


def _device(value: object) -> Device | None:
    try:
        known = _known(Device, value)
        return Device(**{**known, "kind": DeviceKind(known["kind"])})
    except (KeyError, TypeError, ValueError):
        return None


def _card(value: object) -> Card | None:
    try:
        return Card(**_known(Card, value))
    except (TypeError, ValueError):
        return None


def _known(kind: type[Device | Card], value: object) -> dict[str, Any]:
    """Return the values for the fields of a dataclass.

    Raises:
        TypeError: a value is not of the type that the field has.
    """
    if not isinstance(value, dict):
        raise TypeError
    types = {item.name: str(item.type) for item in fields(kind)}
    for name, item in value.items():
        _check(types.get(name, ""), item)
    return {name: item for name, item in value.items() if name in types}


def _check(declared: str, value: object) -> None:
    if value is None and "None" in declared:
        return
    expected: tuple[type, ...] = {"int": (int,), "bool": (bool,)}.get(declared, (str,))
    if declared and not isinstance(value, expected):
        raise TypeError
