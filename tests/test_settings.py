from __future__ import annotations

import pytest

from localrun.errors import UsageError
from localrun.settings import load_settings, parse_address, parse_duration


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", 11435),
        ("0.0.0.0", "0.0.0.0", 11435),  # noqa: S104 - parsed, not bound
        (":8080", "127.0.0.1", 8080),
        ("localhost:1", "localhost", 1),
        ("[::1]:5", "::1", 5),
        ("::1", "::1", 11435),
        ("http://10.0.0.1:99", "10.0.0.1", 99),
    ],
)
def test_addresses_in_every_form(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize("text", ["localhost:x", "localhost:99999", "ftp://a", "a:1:b:2:["])
def test_a_bad_address_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="LOCALRUN_HOST"):
        load_settings({"LOCALRUN_HOST": text})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90", 90.0),
        (300, 300.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("-1", None),
        (-5, None),
        ("0", 0.0),
        ("1.5s", 1.5),
    ],
)
def test_durations_in_every_form(value: str | int, seconds: float | None) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize("text", ["soon", "10x", "1h x", "-", ""])
def test_a_bad_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(UsageError, match="LOCALRUN_IDLE_EXIT"):
        load_settings({"LOCALRUN_IDLE_EXIT": "soon"})
