"""A remote's answer is what was asked for, or a named error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import NetworkError
from localrun.registry.http import Http, HttpError
from localrun.registry.origins import Credential
from localrun.registry.remote import FileSource
from localrun.registry.transfer.range_reader import (
    FileChangedError,
    NoRangesError,
    RangeReader,
    RangeResponse,
    SourceUnusableError,
)
from tests.fakes.faults import Fault
from tests.fakes.hub import FakeHub, fake_hub
from tests.registry.scripted import http, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = bytes(range(256)) * 40
SIZE = len(DATA)
FILE = "/owner/repo/resolve/main/model.gguf"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub(cdn=True) as hub:
        hub.add("owner/repo", {"model.gguf": DATA})
        yield hub


def door(url: str, credential: Credential | None = None) -> RangeReader:
    return RangeReader(
        Http({}, stall_timeout_s=1), FileSource(url=url, name="hub", credential=credential)
    )


def read(opened: RangeResponse) -> bytes:
    try:
        return b"".join(opened.pieces())
    finally:
        opened.close()


def test_an_interval_is_what_comes(hub: FakeHub) -> None:
    opened = door(hub.url + FILE).open(100, 300, size=SIZE, etag=None)

    assert (opened.start, read(opened)) == (100, DATA[100:300])
    assert opened.metadata.size_bytes == SIZE
    assert opened.metadata.has_ranges


def test_where_the_redirect_led_is_asked_again(hub: FakeHub) -> None:
    one = door(hub.url + FILE)

    for start in (0, 100):
        read(one.open(start, 200, size=SIZE, etag=None))

    assert [request.origin for request in hub.requests] == ["hub", "cdn", "cdn"]


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_an_address_that_has_expired_is_asked_for_anew(hub: FakeHub, status: int) -> None:
    one = door(hub.url + FILE)
    read(one.open(0, 100, size=SIZE, etag=None))
    hub.faults.append(Fault.status(status))

    assert read(one.open(100, 200, size=SIZE, etag=None)) == DATA[100:200]


@pytest.mark.parametrize("status", [429, 503])
def test_a_cdn_that_is_busy_is_not_asked_again_at_once(hub: FakeHub, status: int) -> None:
    one = door(hub.url + FILE)
    read(one.open(0, 100, size=SIZE, etag=None))
    hub.faults.append(Fault.status(status, retry_after_s=9))

    with pytest.raises(HttpError) as caught:
        one.open(100, 200, size=SIZE, etag=None)

    assert caught.value.is_passing
    assert caught.value.retry_after_s == 9
    assert len(hub.requests) == 3


def test_a_refused_credential_is_refreshed_once() -> None:
    part = http("206 Partial Content", b"abc", Content_Range="bytes 0-2/3")
    asked: list[Credential] = []
    with scripted(http("401 No"), part) as server:

        def refresh() -> Credential:
            asked.append(Credential(origin=server.url, headers={"Authorization": "Bearer new"}))
            return asked[-1]

        remote = FileSource(url=server.url, name="hub", refresh=refresh)
        one = RangeReader(Http({}), remote)

        assert read(one.open(0, 3, size=3, etag=None)) == b"abc"

    assert len(asked) == 1
    assert "Bearer new" in server.requests[1]


def test_a_cdn_that_refuses_does_not_cost_a_credential() -> None:
    def refresh() -> Credential:
        raise AssertionError

    with scripted(http("403 No")) as cdn:
        with scripted(http("302 Found", Location=cdn.url)) as server:
            one = RangeReader(Http({}), FileSource(url=server.url, name="hub", refresh=refresh))

            with pytest.raises(HttpError) as caught:
                one.open(0, 3, size=3, etag=None)

    assert caught.value.is_passing


ANSWERS: list[tuple[bytes, type[NetworkError], bool | None]] = [
    (http("404 No"), SourceUnusableError, None),
    (http("401 No"), SourceUnusableError, None),
    (http("416 No"), FileChangedError, None),
    (http("503 No"), HttpError, True),
    (http("429 No"), HttpError, True),
    (http("418 No"), HttpError, False),
    (http("206 Part", b"x"), HttpError, True),
    (http("206 Part", b"x", Content_Range="bytes 6-9/10"), NetworkError, None),
    (http("206 Part", b"x", Content_Range="bytes 5-9/11"), FileChangedError, None),
    (http("206 Part", b"x", Content_Range="bytes 5-9/10", ETag='"2"'), FileChangedError, None),
    (http("200 OK", b"0123456789", ETag='"1"'), NoRangesError, None),
    (http("200 OK", b"0123456789"), FileChangedError, None),
    (http("200 OK", b"0123456789", ETag='"2"'), FileChangedError, None),
    (http("200 OK", b"0123456789", Content_Encoding="gzip"), SourceUnusableError, None),
]


@pytest.mark.parametrize(("answer", "error", "is_passing"), ANSWERS)
def test_a_wrong_answer_has_a_name(
    answer: bytes, error: type[NetworkError], *, is_passing: bool | None
) -> None:
    with scripted(answer) as server, pytest.raises(NetworkError) as caught:
        door(server.url).open(5, 10, size=10, etag='"1"')

    assert type(caught.value) is error
    assert getattr(caught.value, "is_passing", None) == is_passing


def test_a_part_that_begins_earlier_says_so() -> None:
    with scripted(http("206 Part", b"34567", Content_Range="bytes 3-7/*")) as server:
        opened = door(server.url).open(5, 8, size=10, etag=None)

    assert (opened.start, opened.metadata.size_bytes, read(opened)) == (3, None, b"34567")


def test_a_weak_etag_gives_way_to_a_date() -> None:
    answer = http("200 OK", b"x", ETag='W/"1"', Last_Modified="yesterday")
    with scripted(answer) as server:
        opened = door(server.url).open(0, None, size=None, etag=None)
        opened.close()

    assert opened.metadata.etag == "yesterday"


@pytest.mark.parametrize(
    ("answer", "size", "has_ranges"),
    [
        (http("416 No", Content_Range="bytes */0"), 0, True),
        (http("200 OK"), 0, False),
        (http("200 OK", b"0\r\n\r\n", length=False, Transfer_Encoding="chunked"), None, False),
    ],
)
def test_an_empty_file_is_a_file(answer: bytes, size: int | None, *, has_ranges: bool) -> None:
    with scripted(answer) as server:
        opened = door(server.url).open(0, 1, size=None, etag=None)
        opened.close()

    assert (opened.metadata.size_bytes, opened.metadata.has_ranges) == (size, has_ranges)


def test_a_file_that_is_no_longer_empty_is_not() -> None:
    with scripted(http("416 No", Content_Range="bytes */0")) as server:
        with pytest.raises(FileChangedError):
            door(server.url).open(0, 1, size=5, etag=None)
