"""Report of the probe: JSON objects, one per line, so that a crash loses only later lines.

    {"engine": {"llama_cpp_python": "0.3.36", "ggml": "0.25.3", "commit": "0c1e570"}}
    {"loading": ["cuda", "/path/libggml-cuda.so"]}      before the code of a backend runs
    {"loading": null}                                   after it
    {"backends": [{"backend": "cuda", "is_loaded": true, ...}, ...],
     "devices": [{"backend": "CUDA", "index": 0, "name": "CUDA0", ...}, ...],
     "cpu_variant": "haswell"}
    {"unloaded": {"cuda": "libcudart.so.13: cannot open shared object file"}}
    {"cards": [{"maker": "NVIDIA", "name": "...", "unit_id": "0000:c1:00.0", ...}, ...]}
    {"failed": "why llama.cpp could not be asked"}

The parent trusts none of it: a line of another form is ignored.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

from localrun.backends.manifest import EngineBuild
from localrun.backends.state import BackendState
from localrun.hardware.device import Device, DeviceKind

MAX_DEVICES = 256
_Value = TypeVar("_Value")


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
    backends: list[BackendState] = field(default_factory=list)
    engine: EngineBuild | None = None
    loading: tuple[str, str] | None = None  # the backend whose code ran at the end, and its library
    cpu_variant: str | None = None  # of the CPU's backend; None if it has none
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
        if name == "loading":
            report.loading = _pair(value)
        elif name == "engine":
            report.engine = next(iter(_values(EngineBuild, [value])), None)
        elif name == "unloaded" and isinstance(value, dict):
            report.unloaded |= {str(key): str(reason) for key, reason in value.items()}
        elif name in {"failed", "cpu_variant"} and isinstance(value, str):
            setattr(report, name, value)
        elif isinstance(value, list):
            _take_list(report, name, value)


def _take_list(report: ProbeReport, name: str, items: list[object]) -> None:
    if name == "devices":
        report.devices = [device for item in items[:MAX_DEVICES] if (device := _device(item))]
    elif name == "cards":
        report.cards += _values(Card, items)
    elif name == "backends":
        report.backends = _values(BackendState, items)


def _pair(value: object) -> tuple[str, str] | None:
    if not isinstance(value, list) or len(value) != len(("backend", "library")):
        return None
    return str(value[0]), str(value[1])


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value


def _device(value: object) -> Device | None:
    try:
        known = _known(Device, value)
        return Device(**{**known, "kind": DeviceKind(known["kind"])})
    except (KeyError, TypeError, ValueError):
        return None


def _values(kind: type[_Value], items: list[object]) -> list[_Value]:
    """Return the values of a type, without those of another form."""
    values = []
    for item in items[:MAX_DEVICES]:
        with contextlib.suppress(TypeError, ValueError):
            values.append(kind(**_known(kind, item)))
    return values


def _known(kind: type, value: object) -> dict[str, Any]:
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
