"""Which source is asked next."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from localrun.errors import NetworkError, NotFoundError
from localrun.registry.http import Http, HttpError
from localrun.registry.remote import FileSource
from localrun.registry.transfer.range_reader import NoRangesError, SourceUnusableError
from localrun.registry.transfer.sources import (
    LONGEST_WAIT_S,
    MAX_FAILURES,
    PROGRESS_BYTES,
    DownloadSource,
    DownloadSources,
)
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FIRST, SECOND, MIRROR = (FileSource(url=f"http://{name}/", name=name) for name in ("a", "b", "m"))
BROKEN = NetworkError("broken")
GONE = SourceUnusableError("gone")


def sources(
    *remotes: FileSource,
    more: Callable[[], Sequence[FileSource]] = lambda: (),
    first_wait_s: float = 0.0,
) -> DownloadSources:
    return DownloadSources(Http({}, is_offline=True), remotes, more, first_wait_s=first_wait_s)


def picked(one: DownloadSources) -> DownloadSource:
    source = one.pick(needs_ranges=True)
    assert source is not None
    return source


def name(one: DownloadSources) -> str:
    return picked(one).reader.source.name


def test_the_first_is_asked_first() -> None:
    assert name(sources(FIRST, SECOND)) == "a"


def test_one_that_fails_rests_while_another_is_asked() -> None:
    one = sources(FIRST, SECOND, first_wait_s=60)
    first = picked(one)

    one.failed(first, BROKEN, num_bytes=0)

    assert name(one) == "b"
    assert 15 < first.wait_s <= LONGEST_WAIT_S


def test_one_that_cannot_help_is_dropped_and_the_reason_is_the_first_ones() -> None:
    one = sources(FIRST, SECOND)

    one.failed(picked(one), GONE, num_bytes=0)
    one.failed(picked(one), SourceUnusableError("also gone"), num_bytes=0)

    with pytest.raises(SourceUnusableError, match=r"^gone"):
        one.pick(needs_ranges=False)


def test_nobody_is_an_error() -> None:
    with pytest.raises(NetworkError, match="no source is known"):
        sources().pick(needs_ranges=False)


def test_retries_come_to_an_end() -> None:
    one = sources(FIRST)
    source = picked(one)

    for _ in range(MAX_FAILURES):
        assert not source.is_dead
        one.failed(source, BROKEN, num_bytes=PROGRESS_BYTES - 1)

    assert source.is_dead


@pytest.mark.parametrize("mend", ["bytes", "success"])
def test_progress_makes_up_for_failures(mend: str) -> None:
    one = sources(FIRST)
    source = picked(one)

    for _ in range(3 * MAX_FAILURES):
        one.failed(source, BROKEN, num_bytes=PROGRESS_BYTES if mend == "bytes" else 0)
        if mend == "success":
            one.succeeded(source)

    assert not source.is_dead


def test_streams_that_fail_together_are_one_failure() -> None:
    one = sources(FIRST, first_wait_s=60)
    source = picked(one)

    for _ in range(4):
        one.failed(source, BROKEN, num_bytes=0)

    assert source.num_failures == 1


def test_a_server_says_how_long_to_wait() -> None:
    one = sources(FIRST, SECOND)
    first, error = picked(one), HttpError("busy", status=429)
    error.retry_after_s = 30

    one.failed(first, error, num_bytes=0)

    assert 29 < first.wait_s <= 30


@pytest.mark.parametrize(("status", "is_dead"), [(418, True), (503, False)])
def test_a_status_that_does_not_pass_ends_a_source(status: int, *, is_dead: bool) -> None:
    one = sources(FIRST)
    source = picked(one)

    one.failed(source, HttpError("no", status=status), num_bytes=0)

    assert source.is_dead is is_dead


def test_one_without_ranges_is_only_for_what_needs_none() -> None:
    one = sources(FIRST)

    one.failed(picked(one), NoRangesError("whole only"), num_bytes=0)

    assert one.pick(needs_ranges=True) is None
    assert one.pick(needs_ranges=False) is not None


def test_mirrors_are_looked_for_at_the_second_failure_and_once() -> None:
    asked = list[int]()

    def more() -> Sequence[FileSource]:
        asked.append(1)
        return (FIRST, MIRROR)

    one = sources(FIRST, more=more)
    first = picked(one)
    one.failed(first, BROKEN, num_bytes=0)
    assert asked == []

    one.failed(first, BROKEN, num_bytes=0)
    one.failed(first, GONE, num_bytes=0)

    assert asked == [1]
    assert name(one) == "m"


def test_a_source_that_wants_a_long_rest_sends_for_mirrors() -> None:
    one, busy = sources(FIRST, more=lambda: (MIRROR,)), HttpError("busy", status=503)
    busy.retry_after_s = 100

    one.failed(picked(one), busy, num_bytes=0)

    assert name(one) == "m"


@pytest.mark.parametrize("error", [BROKEN, NotFoundError("no such model there")])
def test_mirrors_that_cannot_be_found_change_nothing(error: Exception) -> None:
    def more() -> Sequence[FileSource]:
        raise error

    one = sources(FIRST, more=more)

    one.failed(picked(one), GONE, num_bytes=0)

    with pytest.raises(SourceUnusableError):
        picked(one)


def test_without_any_remote_mirrors_are_asked_for() -> None:
    assert name(sources(more=lambda: (MIRROR,))) == "m"


def test_a_search_for_mirrors_holds_up_only_those_that_need_one() -> None:
    go_on, searching = threading.Event(), threading.Event()

    def more() -> Sequence[FileSource]:
        searching.set()
        go_on.wait()
        return (MIRROR,)

    one = sources(FIRST, SECOND, more=more)
    first = picked(one)
    looker = threading.Thread(target=one.failed, args=(first, GONE), kwargs={"num_bytes": 0})
    looker.start()
    searching.wait()
    assert name(one) == "b"
    one.failed(picked(one), GONE, num_bytes=0)
    needy = threading.Thread(target=one.pick, kwargs={"needs_ranges": True})
    needy.start()
    needy.join(0.1)
    assert needy.is_alive()

    go_on.set()

    looker.join(HANG_S)
    needy.join(HANG_S)
    assert not needy.is_alive()
    assert name(one) == "m"


def test_a_slow_source_is_left_while_another_is_there() -> None:
    one = sources(FIRST, more=lambda: (MIRROR,))
    first = picked(one)

    assert one.is_too_slow(first)
    assert name(one) == "m"
    assert not one.is_too_slow(picked(one))  # the other one is slow as well
