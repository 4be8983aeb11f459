"""What one variable may say, and the errors that name it."""

from __future__ import annotations

import pytest

from localrun.errors import UsageError
from localrun.variables import parse_tokens, read_choice, read_count, read_limit, read_size

NAME = "LOCALRUN_X"


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("2G", 2 * 10**9), ("2 GB", 2 * 10**9), ("2GiB", 2**31), ("1.5m", 1_500_000)],
)
def test_sizes_have_decimal_and_binary_units(text: str, size: int) -> None:
    assert read_size({NAME: text}, NAME) == size


@pytest.mark.parametrize("text", ["-1", "9" * 5000, "2T", "1e3", "nan", "2 G B", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"{NAME} must be a size, not "):
        read_size({NAME: text}, NAME)


@pytest.mark.parametrize("text", ["-1", "1.5", "five", "9" * 5000, "101", "٣", "1_0"])
def test_numbers_have_bounds(text: str) -> None:
    with pytest.raises(UsageError, match=f"{NAME} must be a number from 1 to 100, "):
        read_limit({NAME: text}, NAME, 100, example=3)
    with pytest.raises(UsageError, match=f"{NAME} must be a number from 1 to 100, not "):
        read_count({NAME: text}, NAME, 16, 100)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("4096", 4096), ("32k", 2**15), ("128 K", 2**17), ("1m", 2**20), (" 0 ", 0)],
)
def test_tokens_have_binary_units(text: str, tokens: int) -> None:
    assert parse_tokens(text) == tokens


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5k", "1G", "1kk", "1_0", "٣", "9" * 5000])
def test_what_is_no_number_of_tokens_is_refused(text: str) -> None:
    assert parse_tokens(text) is None


def test_zero_is_no_limit_but_no_count() -> None:
    assert read_limit({NAME: "0"}, NAME, 100, example=3) is None
    assert read_limit({NAME: " 100 "}, NAME, 100, example=3) == 100
    with pytest.raises(UsageError, match="not 0"):
        read_count({NAME: "0"}, NAME, 16, 100)


def test_a_choice_is_one_of_those_there_are() -> None:
    assert read_choice({NAME: " B "}, NAME, ("a", "b")) == "b"
    assert read_choice({NAME: " "}, NAME, ("a", "b")) is None
    with pytest.raises(UsageError, match=f"{NAME} must be a or b, not c"):
        read_choice({NAME: "c"}, NAME, ("a", "b"))
