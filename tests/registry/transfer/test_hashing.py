"""A hash that was stopped and resumed is the hash of all the bytes."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.registry.transfer import hashing
from localrun.registry.transfer.hashing import Hash, PlainHash, ResumableHash, new_hash, resume_hash

DATA = random.Random(5).randbytes(64 * 200 + 17)  # noqa: S311
CUTS = st.lists(st.integers(0, 200).map(lambda count: 64 * count), max_size=6)


def feed(hashed: Hash, data: bytes) -> None:
    hashed.update(memoryview(bytearray(data)))


def resumed(hashed: Hash) -> Hash:
    state = hashed.state()
    assert state is not None
    again = resume_hash(state, hashed.length)
    assert again is not None
    return again


@given(CUTS)
def test_any_cuts_at_blocks_give_what_hashlib_gives(cuts: list[int]) -> None:
    hashed = new_hash()

    for cut in sorted(cuts):
        feed(hashed, DATA[hashed.length : cut])
        hashed = resumed(hashed)
    feed(hashed, DATA[hashed.length :])

    assert hashed.length == len(DATA)
    assert hashed.hexdigest() == hashlib.sha256(DATA).hexdigest()


@given(st.lists(st.integers(0, 3000), max_size=6))
def test_pieces_of_any_length_give_what_hashlib_gives(lengths: list[int]) -> None:
    ours, plain, expected = new_hash(), PlainHash(), hashlib.sha256()

    for length in lengths:
        for one in (ours, plain):
            feed(one, DATA[:length])
        expected.update(DATA[:length])

    assert ours.hexdigest() == plain.hexdigest() == expected.hexdigest()


def test_this_machine_keeps_states() -> None:
    assert isinstance(new_hash(), ResumableHash)


def test_there_is_no_state_within_a_block() -> None:
    hashed = new_hash()

    feed(hashed, b"x" * 65)

    assert hashed.state() is None
    assert PlainHash().state() is None


def test_lengths_beyond_32_bits_are_kept() -> None:
    hashed = new_hash()
    feed(hashed, DATA[:64])
    state = hashed.state() or ""

    long = resume_hash(state, 1 << 33)

    assert long is not None
    feed(long, b"")
    assert long.hexdigest() != resumed(hashed).hexdigest()


@pytest.mark.parametrize(
    ("state", "length"),
    [("", 0), ("zz" * 32, 64), ("00" * 31, 64), ("00" * 32, 63), ("00" * 32, -64)],
)
def test_what_is_no_state_is_refused(state: str, length: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - fromhex has its own words
        resume_hash(state, length)


def test_without_openssl_hashing_goes_on_and_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hashing, "_openssl", lambda: None)

    hashed = new_hash()
    feed(hashed, DATA)

    assert hashed.hexdigest() == hashlib.sha256(DATA).hexdigest()
    assert resume_hash("00" * 32, 64) is None


@pytest.mark.parametrize("error", [ImportError, OSError, AttributeError])
def test_an_unreachable_library_is_none(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(name: str) -> None:
        raise error(name)

    monkeypatch.setattr("ctypes.CDLL", refuse)

    assert hashing._openssl.__wrapped__() is None
