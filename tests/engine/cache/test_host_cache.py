"""Pieces of prefixes outside the cells."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.cache.host_cache import PIECE_BYTES, PIECE_TOKENS, HostPrefix, HostPrefixCache

token_lists = st.lists(st.integers(0, 2), min_size=1, max_size=6)


def piece(tokens: list[int], start: int, size: int = 10) -> HostPrefix:
    return HostPrefix(tokens, start, bytes(size))


def test_a_piece_comes_back_once_and_only_behind_its_own_prefix() -> None:
    cache = HostPrefixCache()
    cache.put(piece([1, 2, 3, 4], 2))

    assert cache.take([1, 9, 3, 4], 2) is None
    assert cache.take([1, 2, 3, 4], 1) is None
    found = cache.take([1, 2, 3, 9, 9], 2)
    assert found is not None
    assert found.tokens == [1, 2, 3, 4]
    assert cache.take([1, 2, 3, 4], 2) is None
    assert cache.num_bytes == 0


def test_prefixes_of_one_hash_are_told_apart() -> None:
    cache = HostPrefixCache()
    cache.put(piece([-1, 7], 1))

    assert hash((-1,)) == hash((-2,))
    assert cache.take([-2, 7], 1) is None


def test_the_oldest_pieces_make_room() -> None:
    cache = HostPrefixCache(budget_bytes=25)
    for token in range(3):
        cache.put(piece([token], 0))

    assert not cache.has_room
    assert cache.take([0], 0) is None
    assert cache.take([1], 0) is not None
    assert cache.take([2], 0) is not None


def test_what_is_larger_than_the_budget_is_not_kept() -> None:
    cache = HostPrefixCache(budget_bytes=5)
    cache.put(piece([1], 0))

    assert cache.num_bytes == 0


def test_pieces_of_large_models_have_fewer_tokens() -> None:
    cache = HostPrefixCache()
    first = cache.piece_tokens
    cache.put(piece([1, 2], 0, PIECE_BYTES // 4))

    assert (first, cache.piece_tokens) == (PIECE_TOKENS, 8)


def test_prompts_are_the_ends_of_chains() -> None:
    cache = HostPrefixCache()
    cache.put(piece([1, 2, 3, 4], 2))
    cache.put(piece([1, 2], 0))
    cache.put(piece([5], 0))

    assert cache.prompts() == [[1, 2, 3, 4], [5]]


@given(st.lists(st.tuples(token_lists, st.integers(0, 5), st.integers(0, 9), st.booleans())))
def test_the_bytes_are_those_of_the_pieces(
    acts: list[tuple[list[int], int, int, bool]],
) -> None:
    cache = HostPrefixCache(budget_bytes=20)
    kept: dict[tuple[int, ...], HostPrefix] = {}
    for tokens, position, size, is_put in acts:
        start = min(position, len(tokens) - 1)
        if is_put:
            cache.put(piece(tokens, start, size))
            kept[(*tokens[: start + 1], start)] = piece(tokens, start, size)
        elif found := cache.take(tokens, start):
            assert found == kept[(*tokens[: start + 1], start)]
        assert 0 <= cache.num_bytes <= 20
    cache.clear()
    assert cache.num_bytes == 0
