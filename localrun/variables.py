"""Values of variables: durations, sizes, rates, counts, numbers of tokens and switches.

Each ``read_*`` function returns the value of one variable of an environment; an error names the
variable, its value and what is allowed.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PLAIN_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:e[+-]?\d+)?", re.ASCII)
RATE = re.compile(r"(\d+(?:\.\d+)?) ?([kKmMgG]?)(?:[bB](?:/s)?)?", re.ASCII)
UNIT_BYTES = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}
BINARY_BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}  # KiB, MiB, GiB
TOKENS = re.compile(r"(\d{1,15}) ?([kKmM]?)", re.ASCII)
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmg]?)(i?)b?", re.ASCII)
YES, NO = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
LONGEST_NUMBER = 64  # characters
LONGEST_DURATION_S = 100 * 366 * 86400.0  # dates have an end, in the year 9999
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)


def parse_duration(value: str | float) -> float | None:
    """Return seconds from a number or from text such as 90, 10m, 1h30m.

    None means forever: any negative value.

    Raises:
        UsageError: the text is not a duration, or longer than 100 years.
    """
    text = str(value).strip()
    if len(text) > LONGEST_NUMBER:  # the search below takes quadratic time
        raise _no_duration(text)
    amount = text.removeprefix("-")
    pieces = DURATION.findall(amount)
    if PLAIN_NUMBER.fullmatch(amount):
        seconds = float(amount)
    elif pieces and "".join(number + unit for number, unit in pieces) == amount:
        seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in pieces)
    else:
        seconds = math.inf
    if math.isinf(seconds):
        raise _no_duration(text)
    if text.startswith("-"):
        return None
    if seconds > LONGEST_DURATION_S:
        raise UsageError(f"a duration of more than 100 years: {text}", hint="-1   means forever")
    return seconds


def parse_rate(text: str) -> float:
    """Return bytes per second from ``5M``, ``800K`` or ``1.5MB/s``, with decimal units.

    Raises:
        UsageError: the text is not a rate above zero.
    """
    match = RATE.fullmatch(text.strip())
    rate = float(match.group(1)) * UNIT_BYTES[match.group(2).upper()] if match else 0.0
    if rate <= 0:
        raise UsageError(f"not a rate: {text}", hint="--limit-rate 5M   limits downloads to 5 MB/s")
    return rate


def parse_tokens(text: str) -> int | None:
    """Return a number of tokens from ``32768``, ``32k`` or ``1M``, with binary units.

    Return None if the text is not such a number.
    """
    match = TOKENS.fullmatch(text.strip())
    return int(match.group(1)) * BINARY_BYTES[match.group(2).upper()] if match else None


def read_duration(environ: Mapping[str, str], name: str, default: float | None) -> float | None:
    """Return the seconds of a variable, None for "forever".

    Raises:
        UsageError: the value is not a duration.
    """
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        return parse_duration(text)
    except UsageError as error:
        raise UsageError(f"{name} is {error.message}", hint=error.hint) from error


def read_count(environ: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Return a number from 1 to ``most``.

    Raises:
        UsageError: the value is not such a number.
    """
    text = environ.get(name, "").strip() or str(default)
    if not _is_number(text) or not 1 <= int(text) <= most:
        raise UsageError(
            f"{name} must be a number from 1 to {most}, not {text}", hint=f"{name}={default}"
        )
    return int(text)


def read_limit(environ: Mapping[str, str], name: str, most: int, example: int) -> int | None:
    """Return a number from 1 to ``most``, None for 0 or if the variable is not set.

    Raises:
        UsageError: the value is not such a number.
    """
    text = environ.get(name, "").strip() or "0"
    if not _is_number(text) or int(text) > most:
        raise UsageError(
            f"{name} must be a number from 1 to {most}, or 0 for the default, not {text}",
            hint=f"{name}={example}",
        )
    return int(text) or None


def read_tokens(environ: Mapping[str, str], name: str, most: int) -> int | None:
    """Return a number of tokens up to ``most``, None for 0 or if the variable is not set.

    Raises:
        UsageError: the value is not such a number.
    """
    text = environ.get(name, "").strip() or "0"
    num_tokens = parse_tokens(text)
    if num_tokens is None or num_tokens > most:
        raise UsageError(
            f"{name} must be a number from 1 to {most}, such as 32768 or 32k, "
            f"or 0 for the default, not {text}",
            hint=f"{name}=32k",
        )
    return num_tokens or None


def read_switch(environ: Mapping[str, str], name: str) -> bool:
    """Return whether a variable is on.

    Raises:
        UsageError: the value is neither yes nor no.
    """
    text = environ.get(name, "").strip().lower()
    if text not in YES | NO:
        raise UsageError(f"{name} must be 1 or 0, not {text}", hint=f"{name}=1")
    return text in YES


def read_choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    """Return one of the choices, None if the variable is not set.

    Raises:
        UsageError: the value is another one.
    """
    text = environ.get(name, "").strip().lower()
    if text and text not in choices:
        raise UsageError(
            f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {text}",
            hint=f"{name}={choices[0]}",
        )
    return text or None


def read_size(environ: Mapping[str, str], name: str) -> int | None:
    """Return bytes from ``2G`` or ``500MB``; 0 for none, None if the variable is not set.

    Raises:
        UsageError: the value is not a size.
    """
    text = environ.get(name, "").strip().lower()
    if text in NO - {""}:
        return 0
    if text in YES | {""}:
        return None
    match = SIZE.fullmatch(text[:LONGEST_NUMBER])
    if match is None or len(text) > LONGEST_NUMBER:
        raise UsageError(
            f"{name} must be a size, not {text}", hint=f"{name}=2G   or {name}=0 for none"
        )
    units = BINARY_BYTES if match.group(3) else UNIT_BYTES
    return int(float(match.group(1)) * units[match.group(2).upper()])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER


def _no_duration(text: str) -> UsageError:
    return UsageError(
        f"not a duration: {text[:LONGEST_NUMBER]}",
        hint="write 90 (seconds), 10m, 1h30m or -1 (forever)",
    )
