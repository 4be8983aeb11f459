"""Patterns of tensor names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.quantizing.patterns import LONGEST_PATTERN, TensorPattern
from localrun.errors import UsageError
from tests.measuring import grows_linearly

NAMES = ("blk.0.attn_v.weight", "blk.12.ffn_down_exps.weight", "output.weight", "token_embd.weight")
ATOMS = ("a", "b", ".", "[ab]", "[^b]", "(a|b)", "(ab)", r"\w", r"\.", "^", "$", "(a*|b)", "(?:b|)")
COUNTS = ("", "*", "+", "?", "{2}", "{1,2}", "{0,}", "*?")


@st.composite
def patterns(draw: st.DrawFn) -> str:
    parts = st.tuples(st.sampled_from(ATOMS), st.sampled_from(COUNTS))
    branches = draw(st.lists(st.lists(parts, min_size=1, max_size=4), min_size=1, max_size=3))
    return "|".join("".join(map("".join, branch)) for branch in branches)


@given(patterns(), st.text("ab.c", max_size=8))
def test_a_pattern_matches_as_a_regular_expression_does(pattern: str, name: str) -> None:
    try:
        expected = re.search(pattern, name)
    except re.error:
        return

    assert TensorPattern(pattern).matches(name) == bool(expected)


@pytest.mark.parametrize(
    ("pattern", "indexes"),
    [
        ("attn_v", [0]),
        (r"blk\.[0-9]+\.", [0, 1]),
        (r"blk\.([0-9]|1[0-1])\.", [0]),
        ("^output", [2]),
        ("weight$", [0, 1, 2, 3]),
        ("ATTN_V|Token", [0, 3]),
        (r"_exps\.weight", [1]),
        ("^attn", []),
        (r"[\d]{2}", [1]),
        (r"\S\D", [0, 1, 2, 3]),
    ],
)
def test_names_are_searched_as_llama_cpp_does(pattern: str, indexes: list[int]) -> None:
    compiled = TensorPattern(pattern)

    assert [index for index, name in enumerate(NAMES) if compiled.matches(name)] == indexes


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "0 characters"),
        ("a" * (LONGEST_PATTERN + 1), "257 characters"),
        ("(a", r"a \( without \)"),
        ("a)", r"a \) without \("),
        ("*a", "behind nothing"),
        ("[a", "ends too early"),
        ("a\\", "ends too early"),
        ("[b-a]", "the range b-a"),
        (r"(a)\1", "not supported"),
        (r"\ba", "not supported"),
        ("(?=a)", "lookahead"),
        ("a{2,1}", "out of order"),
        ("a{999}", "number of repetitions"),
        ("a{x}", "number of repetitions"),
        (r"[\D]", "negated class"),
        ("((a{60}){60}){60}", "too many repetitions"),
        ("(" * 20 + "a" + ")" * 20, "deeper than"),
    ],
)
def test_a_pattern_that_is_not_supported_says_why(pattern: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        TensorPattern(pattern)


def test_nested_repetitions_take_linear_time() -> None:
    pattern = TensorPattern("(a+)+$")

    assert grows_linearly(lambda size: pattern.matches("a" * size + "b"), 20_000)
