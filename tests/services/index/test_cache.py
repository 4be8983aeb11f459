"""A cache that is bounded by bytes."""

from __future__ import annotations

from localrun.services.index.cache import ByteCache


def test_the_value_that_was_used_longest_ago_goes_first() -> None:
    cache: ByteCache[str, int] = ByteCache(100)
    cache.put("a", 1, 40)
    cache.put("b", 2, 40)
    cache.get("a")

    cache.put("c", 3, 40)

    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    assert cache.num_bytes == 80


def test_a_new_value_replaces_the_bytes_of_the_old_one() -> None:
    cache: ByteCache[str, int] = ByteCache(100)

    for value in range(10):
        cache.put("a", value, 60)

    assert (cache.get("a"), cache.num_bytes) == (9, 60)


def test_a_value_that_is_larger_than_the_cache_is_not_kept() -> None:
    cache: ByteCache[str, int] = ByteCache(100)

    cache.put("a", 1, 101)

    assert (cache.get("a"), cache.num_bytes) == (None, 0)
