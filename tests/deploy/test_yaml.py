from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from localrun.deploy.yaml import yaml_text

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["yes", "No", "on", "null", "~", "1:30", "0x1f", "1e3", "2026-01-01", "<<", "=", "a: b",
     "# x", "- x", "", " x", "x ", "a\nb\n", "a\n\n b", "%TAG", "!x", "&a", "*a", "@x", "`x`",
     "{{ x }}", "$(x)", "\x07", "\u2028", "10001:10001", "011"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=15,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_every_reader_reads_what_was_written(version: str, value: dict[str, Any]) -> None:
    reader = YAML(typ="safe", pure=True)
    reader.version = version

    assert (reader.load(yaml_text(value)) or {}) == value


def test_the_order_of_keys_is_kept_and_nothing_is_folded() -> None:
    text = yaml_text({"b": "word " * 100 + "end", "a": ["x"]})

    assert text.splitlines()[0].startswith("b: word word")
    assert text.splitlines()[1:] == ["a:", "  - x"]


@pytest.mark.parametrize("value", [{"a": object()}, {"a": {1: 2}}, {"a": (1,)}])
def test_what_is_no_json_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        yaml_text(value)
