"""Files behind addresses: of listed hosts, at public addresses, within bounds."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from concurrent.futures import wait
from itertools import chain, repeat
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
    from collections.abc import Iterable, Iterator

PICTURE = http("200 OK", b"picture")
HERE = PublicOnly.except_for(["127.0.0.1"])  # as if it were public


def files(url: str, **options: Any) -> AddressedFiles:
    return AddressedFiles((url.partition("//")[2],), rule=HERE, **options)


def fetch(files: AddressedFiles, url: str) -> bytes:
    with files.fetching(url) as found:
        return found.content.result(found.remaining_s)


def test_a_listed_file_is_fetched() -> None:
    with scripted(http("200 OK", b"picture")) as server:
        assert fetch(files(server.url), f"{server.url}/a.png") == b"picture"

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
        fetch(AddressedFiles(("1",)), f"http://{host}/")


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

        assert fetch(one, "http://moving.example/") == b"picture"
        with pytest.raises(PrivateAddressError):
            fetch(one, "http://moving.example/")

    assert connected == [("93.184.216.34", 80)]


def _socket_to(port: int) -> socket.socket:
    found = socket.socket()
    found.connect(("127.0.0.1", port))
    return found


def test_a_redirect_within_the_host_is_followed_and_no_other() -> None:
    with scripted(http("200 OK", b"other")) as other:
        with scripted(http("302 Found", Location="/b.png"), http("200 OK", b"picture")) as server:
            assert fetch(files(server.url), f"{server.url}/a.png") == b"picture"
        with scripted(http("302 Found", Location=f"{other.url}/x")) as server:
            with pytest.raises(NetworkError, match="is not followed"):
                fetch(files(server.url), server.url)
        with scripted(http("302 Found", Location="/again")) as server:
            with pytest.raises(NetworkError, match="redirects more than 3 times"):
                fetch(files(server.url), server.url)

    assert other.requests == []


@pytest.mark.parametrize("length", [True, False])
def test_a_file_that_is_too_large_is_not_read(
    monkeypatch: pytest.MonkeyPatch, *, length: bool
) -> None:
    monkeypatch.setattr(addressed, "MAX_BYTES", 1000)
    with scripted(http("200 OK", b"x" * 1001, length=length)) as server:
        with pytest.raises(NetworkError, match="at most 1000 are fetched"):
            fetch(files(server.url), server.url)


def test_a_status_that_is_no_success_is_an_error() -> None:
    with scripted(http("404 Not Found")) as server:
        with pytest.raises(NetworkError, match="404"):
            fetch(files(server.url), server.url)


def test_nothing_is_fetched_offline() -> None:
    with pytest.raises(OfflineError):
        fetch(AddressedFiles(("1",), is_offline=True), "http://a.example/")


def test_requests_for_one_address_share_it_and_others_are_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addressed, "MAX_FETCHES", 1)
    with answering(repeat(b"")) as (url, _, _):
        one = files(url)
        with one.fetching(url) as first, one.fetching(url) as second:
            assert first is second
            with pytest.raises(OverloadedError), one.fetching(f"{url}/other"):
                pass


@pytest.mark.parametrize(
    ("first", "repeated"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"", b""),
    ],
)
def test_a_slow_answer_ends_with_its_last_caller(first: bytes, repeated: bytes) -> None:
    with answering(chain([first], repeat(repeated))) as (url, asked, left):
        with files(url).fetching(url) as fetch:
            assert asked.wait(HANG_S)
            assert not fetch.content.done()
        assert left.wait(HANG_S)
        assert wait([fetch.content], HANG_S).done


def test_a_caller_that_leaves_ends_it_for_no_other() -> None:
    allowed = threading.Event()
    answer = chain(iter(lambda: b"" if not allowed.is_set() else b"H", b"H"), [PICTURE])
    with answering(answer) as (url, _, _):
        one = files(url)
        with one.fetching(url) as fetch:
            with one.fetching(url):
                pass
            allowed.set()
            assert fetch.content.result(HANG_S) == b"picture"


@pytest.mark.parametrize("status", ["404 Not Found", "302 Found"])
def test_the_content_of_another_status_is_not_waited_for(status: str) -> None:
    head = f"HTTP/1.1 {status}\r\nLocation: http://b.example/\r\nContent-Length: 60000\r\n\r\n"
    with answering(chain([head.encode()], repeat(b"x"))) as (url, _, _):
        with files(url).fetching(url) as fetch, pytest.raises(NetworkError):
            fetch.content.result(HANG_S)


@contextlib.contextmanager
def answering(
    pieces: Iterable[bytes],
) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """Run a server that sends one piece after the other, slowly.

    The first event is set when a client has asked, the second when it has left.
    """
    asked, left = threading.Event(), threading.Event()

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.recv(1 << 16)
                asked.set()
                self.request.settimeout(0.01)
                for piece in pieces:
                    self.request.sendall(piece)
                    with contextlib.suppress(TimeoutError):
                        if not self.request.recv(1):
                            break
            left.set()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked, left
        finally:
            server.shutdown()
            thread.join()
