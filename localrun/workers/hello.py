"""Hello of a worker: one line of JSON, before any byte of llama.cpp's protocol.

    {"localrun_worker": 1, "version": "0.9", "protocol": [7, 0], "threads": 8,
     "has_network": false, "network_note": "", "devices": [
      {"name": "CPU", "description": "AMD EPYC", "is_gpu": false,
       "total_bytes": 33554432000, "free_bytes": 31000000000}]}

The other end may be any program, so the line, the texts and the numbers are bounded.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from localrun.errors import IntegrityError

FORMAT = 1
PROTOCOL = (7, 0)  # of RPC in llama-cpp-python 0.3.36, major and minor; a test compares them
MAX_LINE_BYTES = 64 * 1024
MAX_DEVICES = 16
MAX_TEXT = 200
MOST_BYTES = 1 << 50
MAX_THREADS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FarDevice:
    """A device of a worker."""

    name: str  # llama.cpp's own, over there
    description: str
    is_gpu: bool
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHello:
    """What a worker states about itself."""

    version: str  # of localrun
    protocol: tuple[int, int]  # of RPC: major, minor
    threads: int
    has_network: bool
    network_note: str  # why it keeps its network
    devices: tuple[FarDevice, ...]

    def line(self) -> bytes:
        """Return the line, with its end."""
        return json.dumps({"localrun_worker": FORMAT, **asdict(self)}).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Return the hello of a line.

        Raises:
            IntegrityError: the line is no hello, or of a later format.
        """
        try:
            return cls._from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            start = printable(line.decode(errors="replace"))[:60]
            raise IntegrityError(f"it did not begin with a hello, but with: {start}") from error

    @classmethod
    def _from_json(cls, value: Any) -> Self:  # noqa: ANN401 - any JSON value
        if value["localrun_worker"] != FORMAT:
            raise IntegrityError(f"its hello has the format {value['localrun_worker']!r:.20}")
        major, minor = value["protocol"]
        devices = value["devices"]
        if not isinstance(devices, list) or not 1 <= len(devices) <= MAX_DEVICES:
            raise ValueError("number of devices")
        return cls(
            version=_text(value["version"]),
            protocol=(_number(major, MAX_THREADS), _number(minor, MAX_THREADS)),
            threads=_number(value["threads"], MAX_THREADS),
            has_network=value["has_network"] is not False,
            network_note=_text(value["network_note"]),
            devices=tuple(map(_device, devices)),
        )


def refusal(hello: WorkerHello) -> str | None:
    """Return why llama.cpp here and there cannot work together, or None.

    llama.cpp aborts the process otherwise: the major version must be equal, and the server's minor
    version at most the client's.
    """
    (major, minor), (own_major, own_minor) = hello.protocol, PROTOCOL
    if major == own_major and minor <= own_minor:
        return None
    return (
        f"it has version {major}.{minor} of llama.cpp's RPC protocol (localrun {hello.version}), "
        f"and this localrun has {own_major}.{own_minor}"
    )


def printable(text: str) -> str:
    """Return a text on one line that controls no terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _device(value: Any) -> FarDevice:  # noqa: ANN401 - any JSON value
    total_bytes = _number(value["total_bytes"], MOST_BYTES)
    return FarDevice(
        name=_text(value["name"]),
        description=_text(value["description"]),
        is_gpu=value["is_gpu"] is True,
        total_bytes=total_bytes,
        free_bytes=min(total_bytes, _number(value["free_bytes"], MOST_BYTES)),
    )


def _number(value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError("a number out of its range")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return printable(value)[:MAX_TEXT]
