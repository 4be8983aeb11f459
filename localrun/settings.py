"""What the environment says, read once and passed on as one frozen object.

Owns the names and forms of the ``LOCALRUN_*`` variables. Nothing below reads the
environment by itself.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11435
DEFAULT_IDLE_EXIT_S = 600.0
DEFAULT_KEEP_ALIVE_S = 300.0
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
LARGEST_PORT = 65535
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PLAIN_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:e[+-]?\d+)?", re.ASCII)
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one process; times in seconds, None where it means for ever."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    idle_exit_s: float | None = DEFAULT_IDLE_EXIT_S
    keep_alive_s: float | None = DEFAULT_KEEP_ALIVE_S
    log_dir: Path

    @property
    def is_loopback(self) -> bool:
        """Tell whether only programs on this machine can reach the address."""
        return self.host in LOOPBACK_HOSTS

    @property
    def address(self) -> str:
        """Return ``host:port`` as URLs write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from the environment.

    Raises:
        UsageError: a variable's value cannot be understood; the error names it.
    """
    host, port = parse_address(environ.get("LOCALRUN_HOST", ""))
    log_dir = environ.get("LOCALRUN_LOG_DIR")
    return Settings(
        host=host,
        port=port,
        idle_exit_s=_duration(environ, "LOCALRUN_IDLE_EXIT", DEFAULT_IDLE_EXIT_S),
        keep_alive_s=_duration(environ, "LOCALRUN_KEEP_ALIVE", DEFAULT_KEEP_ALIVE_S),
        log_dir=Path(log_dir) if log_dir else _platform_log_dir(),
    )


def parse_address(text: str) -> tuple[str, int]:
    """Split ``host``, ``host:port``, ``:port``, ``[::1]:port`` or a URL into host and port.

    Raises:
        UsageError: not an address.
    """
    trimmed = text.strip().strip("\"'")
    if trimmed.count(":") > 1 and "[" not in trimmed and "//" not in trimmed:
        trimmed = f"[{trimmed}]"  # a bare IPv6 address
    try:
        parts = urlsplit(trimmed if "//" in trimmed else f"//{trimmed}")
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        port = -1
        parts = urlsplit("")
    if not 0 <= port <= LARGEST_PORT or parts.scheme not in {"", "http"}:
        raise UsageError(
            f"LOCALRUN_HOST is not an address: {text}", hint="LOCALRUN_HOST=127.0.0.1:11435"
        )
    return parts.hostname or DEFAULT_HOST, port


def parse_duration(value: str | float) -> float | None:
    """Return seconds from a number of them or from text such as 90, 10m, 1h30m.

    None means for ever: any negative value.

    Raises:
        UsageError: not a duration.
    """
    text = str(value).strip()
    amount = text.removeprefix("-")
    pieces = DURATION.findall(amount)
    if PLAIN_NUMBER.fullmatch(amount):
        seconds = float(amount)
    elif pieces and "".join(number + unit for number, unit in pieces) == amount:
        seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in pieces)
    else:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise UsageError(
            f"not a duration: {value}", hint="write 90 (seconds), 10m, 1h30m or -1 (for ever)"
        )
    return None if text.startswith("-") else seconds


def _duration(environ: Mapping[str, str], name: str, default: float | None) -> float | None:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        return parse_duration(text)
    except UsageError as error:
        raise UsageError(f"{name} is {error.message}", hint=error.hint) from error


def _platform_log_dir() -> Path:
    from platformdirs import user_log_path

    return user_log_path("localrun")
