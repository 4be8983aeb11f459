"""Tokenizers that llama.cpp cannot have, or that are damaged, are refused."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.convert.config import Config
from localrun.convert.tokenizer.description import read_description
from localrun.convert.tokenizer.read import read_vocabulary
from localrun.convert.tokenizer.sentencepiece import read_sentencepiece
from localrun.convert.tokenizer.special import read_special
from localrun.convert.tokenizer.vocabulary import CONTROL, NORMAL, UNUSED, TokenizerVocabulary
from localrun.errors import IntegrityError, LocalrunError, UsageError
from tests.convert.tiny import byte_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

BYTES = {"type": "ByteLevel", "add_prefix_space": False}
KEYS = ("type", "vocab", "merges", "pretokenizers", "processors", "single", "id", "content")
PIECES = {"type": "BPE", "vocab": {"a": 0}, "merges": [], "byte_fallback": True}


def read(folder: Path, description: object) -> TokenizerVocabulary:
    (folder / "tokenizer.json").write_text(json.dumps(description))
    return read_vocabulary(folder, read_description(folder), "llama")


def changed(**changes: Any) -> dict[str, Any]:
    return {**byte_tokenizer(), **changes}


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        (
            changed(model={"type": "WordLevel"}),
            "of the kind WordLevel; BPE, WordPiece, Unigram can",
        ),
        (changed(normalizer={"type": "Lowercase"}), "changes text by 'Lowercase'"),
        (changed(pre_tokenizer={**BYTES, "add_prefix_space": True}), "puts a space before every"),
        (
            changed(
                pre_tokenizer={
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated"},
                        {**BYTES, "use_regex": False},
                    ],
                }
            ),
            r"a rule that is not known here: x\+",
        ),
        ({"model": PIECES, "normalizer": {"type": "NFKC"}}, "changes text by 'NFKC' in a way"),
        ({"model": PIECES}, "not a tokenizer of a kind that llama.cpp has"),
        (
            {"model": {"type": "WordPiece", "vocab": {}, "continuing_subword_prefix": "@@"}},
            "another sign than ##",
        ),
        (
            {"model": {"type": "WordPiece", "vocab": {}}, "normalizer": {"type": "NFKC"}},
            r"it changes text by \['NFKC'\]",
        ),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(
    tmp_path: Path, description: object, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        read(tmp_path, description)

    assert "tokenizer.json" in caught.value.message


def test_a_rule_is_named_by_its_steps(tmp_path: Path) -> None:
    steps = [{"type": "Punctuation"}, {"type": "Digits"}, BYTES]
    description = changed(pre_tokenizer={"type": "Sequence", "pretokenizers": steps})

    with pytest.raises(UsageError, match=r"\(Punctuation\) then \(Digits\) then \(of ByteLevel\)"):
        read(tmp_path, description)


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        (changed(model={"type": "BPE", "vocab": {"a": "0"}}), "must be an object of different"),
        (changed(model={"type": "BPE", "vocab": {"a": 0, "b": 0}}), "must be an object of diff"),
        (changed(model={"type": "BPE", "vocab": {"a": 1 << 40}}), "the id 1,099,511,627,776"),
        (changed(model={"type": "BPE", "vocab": {"a": -1}}), "the id"),
        (changed(model={"type": "BPE", "vocab": {"": 0}, "merges": []}), "or an empty one"),
        (changed(model={"type": "BPE", "vocab": {}}), "merges, which must be a list of pairs"),
        (changed(model={"type": "BPE", "vocab": {}, "merges": ["a b c"]}), "a list of pairs"),
        (changed(model={"type": "BPE", "vocab": {}, "merges": [["a", 1]]}), "a list of pairs"),
        (changed(added_tokens=[{"id": 1, "content": "b"}, {"id": 2, "content": "b"}]), "same text"),
        (changed(added_tokens=[1]), "a list of objects"),
        (changed(added_tokens={"id": 1}), "a list of objects"),
        (changed(added_tokens=5), "a list of objects"),
        (changed(added_tokens=[{"id": "1", "content": "b"}]), "id = '1'"),
        (changed(model=7), "model = 7, which must be an object"),
        (changed(pre_tokenizer={"type": "Sequence", "pretokenizers": 1}), "must be a list"),
        (changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [1]}), "list of objects"),
        ([], "is not a JSON object"),
    ],
)
def test_a_damaged_tokenizer_is_refused(tmp_path: Path, description: object, reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        read(tmp_path, description)


def test_sequences_may_not_be_nested_for_ever(tmp_path: Path) -> None:
    nested: dict[str, Any] = BYTES
    for _ in range(20):
        nested = {"type": "Sequence", "pretokenizers": [nested]}

    with pytest.raises(IntegrityError, match="not nested too deep"):
        read(tmp_path, changed(pre_tokenizer=nested))


def vocabulary(*types: int) -> TokenizerVocabulary:
    tokens = tuple(f"t{index}" for index in range(len(types)))
    return TokenizerVocabulary(
        kind="llama", tokens=tokens, types=types, scores=(1.0,) * len(types), flags={}
    )


def test_rows_without_a_token_get_unused_ones() -> None:
    found = vocabulary(NORMAL).resized(3)

    assert found.tokens == ("t0", "[PAD1]", "[PAD2]")
    assert found.types == (NORMAL, UNUSED, UNUSED)
    assert found.scores == (1.0, 0.0, 0.0)


def test_added_tokens_without_a_row_are_left_out_and_ordinary_ones_refused() -> None:
    assert vocabulary(NORMAL, CONTROL).resized(1).tokens == ("t0",)
    with pytest.raises(IntegrityError, match="2 tokens, the embeddings 1 rows"):
        vocabulary(NORMAL, NORMAL).resized(1)


PIECE = b"\x0a\x0a\x0a\x01a\x15\x00\x00\x80\xbf\x18\x01"
BPE = b"\x12\x02\x18\x02"


def test_fields_that_are_not_known_are_skipped() -> None:
    unknown = (
        b"\xa0\x06\x96\x01" + b"\xa1\x06" + bytes(8) + b"\xa5\x06" + bytes(4) + b"\xa2\x06\x01x"
    )

    found = read_sentencepiece(unknown + PIECE + unknown + BPE, "tokenizer.model")

    assert found.tokens == ("a",)
    assert found.scores == (-1.0,)
    assert found.flags == {"add_space_prefix": True}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "has 0 pieces"),
        (PIECE[:-3], "ends after the file"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "ends after the file"),
        (b"\x80" * 20, "a number without an end"),
        (b"\x0b", "a field of type 3"),
        (b"\x0a\x03\x0a\x01\xff", "not a sentencepiece model"),
        (b"\x0a\x05\x0a\x01a\x18\x09", "a piece 'a' of type 9"),
        (b"\x0a\x04\x0a\x00\x18\x01", "a piece '' of type 1"),
        (PIECE + PIECE + BPE, "two tokens of the same text"),
    ],
)
def test_a_damaged_tokenizer_model_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        read_sentencepiece(data, "tokenizer.model")


def test_a_tokenizer_model_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="not of the kind BPE or unigram"):
        read_sentencepiece(PIECE + b"\x12\x02\x18\x03", "tokenizer.model")


def test_a_unigram_tokenizer_model_is_read() -> None:
    normalizer = b"\x1a\x07\x12\x03abc\x20\x00"

    vocabulary = read_sentencepiece(PIECE + b"\x12\x02\x18\x01" + normalizer, "tokenizer.model")

    assert (vocabulary.kind, vocabulary.charsmap) == ("t5", b"abc")
    assert vocabulary.flags == {"add_space_prefix": True, "remove_extra_whitespaces": False}


@given(st.binary(max_size=60), st.integers(0, 15))
def test_any_bytes_are_read_or_refused(data: bytes, at: int) -> None:
    with contextlib.suppress(IntegrityError, UsageError):  # any other error fails the test
        found = read_sentencepiece(PIECE[:at] + data + PIECE[at:] + BPE, "tokenizer.model")
        assert len(found.tokens) == len(found.types)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "vocab",
                        "merges",
                        "pretokenizers",
                        "processors",
                        "single",
                        "id",
                        "content",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=8,
    ),
    st.sampled_from(["model", "normalizer", "pre_tokenizer", "post_processor", "added_tokens"]),
)
def test_any_json_is_read_or_refused(tmp_path: Path, value: Any, key: str) -> None:
    with contextlib.suppress(LocalrunError):  # any other error fails the test
        found = read(tmp_path, changed(**{key: value}))
        assert len(found.tokens) == len(found.types)
        special = read_special(tmp_path, found, Config({}, ""), read_description(tmp_path))
        assert special.ids == {}
