from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import ModelNameError
from localrun.names import ModelRef, parse_name

part = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}", fullmatch=True)


@given(part, part, st.none() | part, st.none() | part)
def test_a_name_and_its_text_are_inverse(
    model: str, tag: str, namespace: str | None, host: str | None
) -> None:
    ref = ModelRef(model=model, tag=tag, namespace=namespace, host=host if namespace else None)

    assert parse_name(str(ref)) == ref


def test_a_missing_tag_is_latest() -> None:
    assert str(parse_name("guide")) == "guide:latest"


@pytest.mark.parametrize(
    "text", ["", "a b", "../x", "/etc/passwd", "a:", "a::b", "a/b/c/d", "ü", "-x", "a" * 99]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ModelNameError, match="not a model name"):
        parse_name(text)
