"""What the environment says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import UsageError
from localrun.settings import load_settings, parse_address
from localrun.variables import parse_duration


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 11435)),
        ("localhost", ("localhost", 11435)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),  # noqa: S104 - only parsed
        (":8080", ("127.0.0.1", 8080)),
        ("[::1]:8080", ("::1", 8080)),
        ("::1", ("::1", 11435)),
        ("http://127.0.0.1:9", ("127.0.0.1", 9)),
        ("http://box.local/", ("box.local", 11435)),
        (" '127.0.0.1:9' ", ("127.0.0.1", 9)),
    ],
)
def test_every_way_to_write_an_address_is_understood(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "size"),
    [("", None), ("1", None), ("0", 0), ("off", 0), ("2G", 2 * 10**9), ("1.5 mb", 1_500_000)],
)
def test_the_size_of_saved_prompts_is_understood(text: str, size: int | None) -> None:
    settings = load_settings({"LOCALRUN_PROMPT_CACHE": text, "LOCALRUN_CACHE": "/c"})

    assert settings.prompt_cache_bytes == size
    assert settings.prompts_dir == Path("/c/prompts")


def test_a_wrong_size_names_the_variable() -> None:
    with pytest.raises(UsageError, match="LOCALRUN_PROMPT_CACHE must be a size, not much"):
        load_settings({"LOCALRUN_PROMPT_CACHE": "much"})


@pytest.mark.parametrize("text", ["host:port", "h:99999", "httpx://h", "h:-1", "[::1", "ftp://h:2"])
def test_a_wrong_address_names_the_variable(text: str) -> None:
    with pytest.raises(UsageError, match="LOCALRUN_HOST"):
        load_settings({"LOCALRUN_HOST": text, "LOCALRUN_LOG_DIR": "logs"})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("10m", 600), ("1h30m", 5400), ("90", 90), (300, 300), (1.5, 1.5), ("250ms", 0.25),
     ("2d", 172800), ("0", 0), ("-1", None), (-1, None), ("-5m", None)],
)  # fmt: skip
def test_durations_are_seconds_or_for_ever(value: str | float, seconds: float | None) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize("text", ["", "m", "10x", "1h 30", "--1", "-", "five", "1m!"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)


@given(st.text(max_size=20))
def test_any_text_is_a_finite_duration_or_a_named_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except UsageError:
        return

    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


@pytest.mark.parametrize("text", ["nan", "inf", "infinity", "1e999"])
def test_a_duration_is_never_infinite_or_no_number(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("value", [1e12, 1e308, "99999999h", 2**63])
def test_a_duration_that_leads_beyond_all_dates_is_refused(value: str | float) -> None:
    with pytest.raises(UsageError, match="more than 100 years"):
        parse_duration(value)


def test_a_long_text_is_no_duration_and_is_not_searched() -> None:
    with pytest.raises(UsageError, match="not a duration") as caught:
        parse_duration("1" * 1_000_000)

    assert len(caught.value.message) < 100


@pytest.mark.parametrize("name", ["LOCALRUN_IDLE_EXIT", "LOCALRUN_KEEP_ALIVE"])
def test_a_wrong_duration_names_its_variable(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        load_settings({name: "soon", "LOCALRUN_LOG_DIR": "logs"})


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = load_settings({})

    assert settings.address == "127.0.0.1:11435"
    assert settings.is_loopback
    assert (settings.idle_exit_s, settings.keep_alive_s) == (600, 300)
    assert settings.log_dir.is_absolute()


def test_the_environment_sets_every_field() -> None:
    settings = load_settings(
        {
            "LOCALRUN_HOST": "[::1]:1",
            "LOCALRUN_IDLE_EXIT": "-1",
            "LOCALRUN_KEEP_ALIVE": "1h",
            "LOCALRUN_LOG_DIR": "/var/log/localrun",
        }
    )

    assert settings.address == "[::1]:1"
    assert settings.idle_exit_s is None
    assert settings.keep_alive_s == 3600
    assert settings.log_dir == Path("/var/log/localrun")


def test_an_address_of_all_interfaces_is_not_loopback() -> None:
    everywhere = load_settings({"LOCALRUN_HOST": "0.0.0.0"})  # noqa: S104 - only parsed

    assert not everywhere.is_loopback
