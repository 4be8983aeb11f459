"""Names of models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import ModelNameError
from localrun.names import ModelRef, parse_name

parts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", fullmatch=True)
hosts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}(:[0-9]{1,5})?", fullmatch=True)
with_namespace = st.builds(
    ModelRef, model=parts, tag=parts, namespace=parts, host=st.none() | hosts
)
refs = st.builds(ModelRef, model=parts, tag=parts) | with_namespace


@given(refs)
def test_a_name_read_back_from_its_text_is_the_same(ref: ModelRef) -> None:
    assert parse_name(str(ref)) == ref


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_a_named_error(text: str) -> None:
    try:
        ref = parse_name(text)
    except ModelNameError:
        return

    assert parse_name(str(ref)) == ref


def test_a_missing_tag_means_latest() -> None:
    assert str(parse_name("guide")) == "guide:latest"
    assert parse_name("guide") == parse_name("guide:latest")


def test_all_parts_are_found() -> None:
    assert parse_name("registry.example:5000/someone/qwen3:0.6b") == ModelRef(
        host="registry.example:5000", namespace="someone", model="qwen3", tag="0.6b"
    )


@pytest.mark.parametrize(
    "text",
    ["", ":", "guide:", ":tag", "a/", "/a", "a//b", "a/b/c/d", "gui de", "..", "../x", "-x",
     "a:b:c", "guide\n", "x" * 81, "h:123456/n/m"],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ModelNameError) as caught:
        parse_name(text)

    assert caught.value.hint
