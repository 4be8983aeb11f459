"""Files behind addresses: of listed hosts, at public addresses, within bounds."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import NetworkError, OverloadedError, PrivateAddressError, UsageError
from localrun.registry import addressed
from localrun.registry.addressed import AddressedFiles
from localrun.registry.http import OfflineError
from localrun.registry.public import PublicOnly
from localrun.settings import load_settings
from tests.registry.scripted import http, scripted
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = PublicOnly.except_for(["127.0.0.1"])  # as if it were public


def files(url: str, **options: Any) -> AddressedFiles:
    return AddressedFiles((url.partition("//")[2],), rule=HERE, **options)


def test_a_listed_file_is_fetched() -> None:
    with scripted(http("200 OK", b"picture")) as server:
        assert files(server.url).fetch(f"{server.url}/a.png") == b"picture"

    assert server.requests[0].startswith("GET /a.png ")


@pytest.mark.parametrize(
    ("listed", "url", "is_allowed"),
    [
        ("", "https://a.example/x", False),
        ("1", "https://a.example/x", True),
        ("1", "https://a.example:8443/x", False),
        ("1", "https://user:pw@a.example/x", False),
        ("1", "file:///etc/passwd", False),
        ("1", "http://", False),
        ("1", "http://a.example\\@b.example/", False),
        ("a.example", "https://A.example/x", True),
        ("a.example", "http://a.example:80/x", True),
        ("a.example", "https://a.example.evil/x", False),
        ("a.example", "https://evil-a.example/x", False),
        ("a.example", "https://b.a.example/x", False),
        ("*.a.example", "https://b.a.example/x", True),
        ("*.a.example", "https://evila.example/x", False),
        ("a.example:8443", "https://a.example:8443/x", True),
        ("a.example:8443", "https://a.example/x", False),
        ("x.example, a.example", "https://a.example", True),
    ],
)
def test_the_setting_lists_hosts(listed: str, url: str, *, is_allowed: bool) -> None:
    hosts = load_settings({"LOCALRUN_FETCH_IMAGES": listed}).fetched_hosts

    assert AddressedFiles(hosts).allows(url) == is_allowed


def test_a_setting_that_lists_no_hosts_is_refused() -> None:
    with pytest.raises(UsageError, match="LOCALRUN_FETCH_IMAGES"):
        load_settings({"LOCALRUN_FETCH_IMAGES": "https://a.example/"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254"])
def test_a_private_address_is_never_connected_to(host: str) -> None:
    with pytest.raises(PrivateAddressError):
        AddressedFiles(("1",)).fetch(f"http://{host}/")


def test_the_checked_address_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    meanings, connected = ["93.184.216.34", "127.0.0.1"], []
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, *rest, **more: real(meanings.pop(0), *rest, **more)
    )
    with scripted(http("200 OK", b"picture")) as server:
        port = int(server.url.rpartition(":")[2])

        def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
            connected.append(address)
            return _socket_to(port)

        monkeypatch.setattr("localrun.registry.public.create_connection", connect)
        one = AddressedFiles(("moving.example",))

        assert one.fetch("http://moving.example/") == b"picture"
        with pytest.raises(PrivateAddressError):
            one.fetch("http://moving.example/")

    assert connected == [("93.184.216.34", 80)]


def _socket_to(port: int) -> socket.socket:
    found = socket.socket()
    found.connect(("127.0.0.1", port))
    return found


def test_a_redirect_within_the_host_is_followed_and_no_other() -> None:
    with scripted(http("200 OK", b"other")) as other:
        with scripted(http("302 Found", Location="/b.png"), http("200 OK", b"picture")) as server:
            assert files(server.url).fetch(f"{server.url}/a.png") == b"picture"
        with scripted(http("302 Found", Location=f"{other.url}/x")) as server:
            with pytest.raises(NetworkError, match="is not followed"):
                files(server.url).fetch(server.url)
        with scripted(http("302 Found", Location="/again")) as server:
            with pytest.raises(NetworkError, match="redirects more than 3 times"):
                files(server.url).fetch(server.url)

    assert other.requests == []


@pytest.mark.parametrize("length", [True, False])
def test_a_file_that_is_too_large_is_not_read(
    monkeypatch: pytest.MonkeyPatch, *, length: bool
) -> None:
    monkeypatch.setattr(addressed, "MAX_BYTES", 1000)
    with scripted(http("200 OK", b"x" * 1001, length=length)) as server:
        with pytest.raises(NetworkError, match="at most 1000 are fetched"):
            files(server.url).fetch(server.url)


def test_a_file_that_takes_too_long_is_given_up() -> None:
    times = iter([0.0, 100.0])
    with scripted(http("200 OK", b"x" * 10)) as server:
        with pytest.raises(NetworkError, match="more than 20 s"):
            files(server.url, clock=lambda: next(times)).fetch(server.url)


def test_a_status_that_is_no_success_is_an_error() -> None:
    with scripted(http("404 Not Found")) as server:
        with pytest.raises(NetworkError, match="404"):
            files(server.url).fetch(server.url)


def test_nothing_is_fetched_offline() -> None:
    with pytest.raises(OfflineError):
        AddressedFiles(("1",), is_offline=True).fetch("http://a.example/")


def test_requests_for_one_address_share_it_and_others_are_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addressed, "MAX_FETCHES", 1)
    begun, allowed, opened = threading.Event(), threading.Event(), list[str]()

    def content(_: AddressedFiles, url: str) -> bytes:
        opened.append(url)
        begun.set()
        assert allowed.wait(HANG_S)
        return b"picture"

    monkeypatch.setattr(AddressedFiles, "_content", content)
    one = AddressedFiles(("1",))
    fetch: Callable[[str], bytes] = one.fetch
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, "http://a.example/")
        assert begun.wait(HANG_S)
        second = pool.submit(fetch, "http://a.example/")
        with pytest.raises(OverloadedError):
            fetch("http://b.example/")
        allowed.set()

        assert first.result(HANG_S) == second.result(HANG_S) == b"picture"
    assert set(opened) == {"http://a.example/"}
