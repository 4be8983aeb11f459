"""Where a name is kept in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from localrun.errors import ModelNameError
from localrun.names.parse import parse_name
from tests.names.test_parse import refs

if TYPE_CHECKING:
    from localrun.names.ref import ModelRef


@given(refs, refs)
def test_names_share_a_place_only_when_they_differ_in_case_alone(a: ModelRef, b: ModelRef) -> None:
    same = str(a).casefold().split("@sha256:")[0] == str(b).casefold().split("@sha256:")[0]

    assert (a.key == b.key) == same


@given(refs)
def test_every_place_is_a_plain_path_inside_the_store(ref: ModelRef) -> None:
    for part in ref.key:
        assert part.isascii()
        assert part == part.lower() or "%" in part
        assert not set(part) & set('/\\:*?"<>|')
        assert part.strip(". ") == part


def test_names_that_windows_keeps_for_itself_are_written_otherwise() -> None:
    assert parse_name("con").key[2] == "con%"
    assert parse_name("a/nul.x:aux").key[1:] == ("a", "nul.x%", "aux%")


def test_the_case_of_a_web_address_counts() -> None:
    assert parse_name("https://h/A.gguf").key != parse_name("https://h/a.gguf").key


def test_a_path_that_is_not_utf8_has_a_place_of_its_own() -> None:
    assert parse_name("./\udcff.gguf").key != parse_name("./\udcfe.gguf").key


def test_an_address_that_is_not_unicode_is_none() -> None:
    with pytest.raises(ModelNameError, match="not an address"):
        parse_name("https://host/\udcff.gguf")
