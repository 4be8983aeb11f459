"""HTTP: redirects, credentials, proxies, certificates."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from localrun.errors import NetworkError
from localrun.registry.http import (
    STALL_TIMEOUT_S,
    Http,
    HttpError,
    OfflineError,
    http_error,
    retry_after,
)
from localrun.registry.origins import Credential
from localrun.registry.public import PublicOnly
from tests.measuring import wall_s
from tests.registry.scripted import http, scripted
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK = http("200 OK", b"hello")
SECRET = {"Authorization": "Bearer secret"}


def new_http(**environ: str) -> Http:
    return Http(environ, stall_timeout_s=10 * HANG_S, connect_timeout_s=10 * HANG_S)


def text(one: Http, url: str, credential: Credential | None = None) -> bytes:
    with one.open(url, credential=credential) as response:
        return response.body()


def redirect(to: str) -> bytes:
    return http("302 Found", b"over there", Location=to)


def test_a_body_is_read() -> None:
    with scripted(OK) as server:
        assert text(new_http(), server.url) == b"hello"

    assert "Accept-Encoding: identity" in server.requests[0]
    assert "User-Agent: localrun/" in server.requests[0]


def test_a_body_that_is_too_long_is_not_read() -> None:
    with scripted(OK) as server, new_http().open(server.url) as response:
        with pytest.raises(NetworkError, match="more than 4 bytes"):
            response.body(max_bytes=4)


def test_a_body_that_breaks_is_an_error() -> None:
    broken = OK.replace(b"Content-Length: 5", b"Content-Length: 6")

    with scripted(broken) as server, pytest.raises(NetworkError, match="the connection broke"):
        text(new_http(), server.url)


def test_a_credential_goes_to_its_origin_and_no_further() -> None:
    with scripted(OK) as cdn, scripted(redirect(f"{cdn.url}/file")) as hub:
        assert text(new_http(), hub.url, Credential(origin=hub.url, headers=SECRET)) == b"hello"

    assert "Bearer secret" in hub.requests[0]
    assert "secret" not in cdn.requests[0]


def test_a_login_in_a_url_goes_to_its_origin_in_a_header() -> None:
    with scripted(OK) as cdn, scripted(redirect(f"{cdn.url}/file")) as hub:
        url = hub.url.replace("://", "://user:p%40ss:%C3%A9@")
        assert text(new_http(), url) == b"hello"

    sent = base64.b64encode("user:p@ss:é".encode()).decode()
    assert f"Authorization: Basic {sent}" in hub.requests[0]
    assert "user" not in hub.requests[0]
    assert "uthorization" not in cdn.requests[0]


def test_a_login_in_a_redirect_is_not_sent() -> None:
    with scripted(OK) as cdn:
        target = cdn.url.replace("://", "://user:pw@")
        with scripted(redirect(target)) as hub, new_http().open(hub.url) as response:
            assert response.url == cdn.url

    assert "uthorization" not in cdn.requests[0]


def test_a_backslash_does_not_lead_a_credential_astray() -> None:
    """A browser and urllib3 end the host at it; Python's urlsplit does not."""
    with scripted(OK) as evil:
        hub = "https://hf.co"
        url = f"{evil.url}\\@hf.co/"

        with pytest.raises(NetworkError, match="not an address"):
            text(new_http(), url, Credential(origin=hub.replace("https", "http"), headers=SECRET))

    assert not evil.requests


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", "http://[bad", "gopher:x"])
def test_a_redirect_to_what_is_not_http_is_refused(target: str) -> None:
    with scripted(redirect(target)) as server, pytest.raises(NetworkError, match="redirects to"):
        new_http().open(server.url)


def test_redirects_end() -> None:
    with (
        scripted(redirect("/again")) as server,
        pytest.raises(NetworkError, match="redirects more than"),
    ):
        new_http().open(server.url)


def test_a_redirect_can_be_looked_at() -> None:
    with scripted(redirect("/x")) as server, new_http().open(server.url, follow=False) as response:
        assert (response.status, response.header("location")) == (302, "/x")


def test_see_other_is_asked_for_with_get() -> None:
    other = http("303 See Other", Location="/done")
    with scripted(other, OK) as server:
        with new_http().open(server.url, method="POST", body=b"x") as response:
            assert response.body() == b"hello"

    assert [request.split()[0] for request in server.requests] == ["POST", "GET"]


def test_offline_is_offline() -> None:
    one = Http({}, is_offline=True)

    with pytest.raises(OfflineError, match="LOCALRUN_OFFLINE"):
        one.open("http://127.0.0.1:1/")


def test_nobody_there_is_an_error_that_names_the_host() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/secret"

        with pytest.raises(NetworkError, match=r"127\.0\.0\.1:\d+ does not answer") as caught:
            new_http().open(url)

    assert "secret" not in caught.value.message


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        def give_up() -> None:
            with pytest.raises(NetworkError, match="does not answer"):
                Http({}, stall_timeout_s=0.3).open(url)

        assert wall_s(give_up) < STALL_TIMEOUT_S  # which is the default


def test_a_blocked_read_is_interrupted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=stall, args=(server, 3)).start()
        with new_http().open(f"http://127.0.0.1:{server.getsockname()[1]}") as response:
            assert response.read(10) == b"abc"
            threading.Timer(0.1, response.interrupt).start()

            with contextlib.suppress(NetworkError):
                assert response.read(10) == b""


def stall(server: socket.socket, count: int) -> None:
    """Answer one connection with some bytes of ten, and nothing more until it leaves."""
    connection, _ = server.accept()
    with connection:
        connection.recv(10_000)
        connection.sendall(http("200 OK", b"abcdefghij")[: count - 10])
        connection.recv(1)


def test_to_close_does_not_wait_for_a_stalled_body() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=stall, args=(server, 3))
        thread.start()
        response = new_http().open(f"http://127.0.0.1:{server.getsockname()[1]}")

        response.close()
        response.interrupt()

        thread.join()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("1.5", 1.5),
        ("-2", 0.0),
        ("1e9", 120.0),
        ("nan", None),
        ("soon", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 120.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize(
    ("status", "is_passing"), [(404, False), (429, True), (503, True), (408, True), (401, False)]
)
def test_a_status_passes_or_not(status: int, *, is_passing: bool) -> None:
    with scripted(http(f"{status} X", Retry_After="7")) as server:
        with new_http().open(server.url) as response:
            error = http_error(response, "a file")

    assert isinstance(error, HttpError)
    assert (error.status, error.is_passing, error.retry_after_s) == (status, is_passing, 7.0)


def test_http_goes_through_a_proxy_with_its_password() -> None:
    with scripted(OK) as proxy:
        address = proxy.url.replace("http://", "http://us%40er:word@")

        assert text(new_http(http_proxy=address), "http://hub.invalid/x") == b"hello"

    assert proxy.requests[0].startswith("GET http://hub.invalid/x HTTP/1.1")
    assert "Basic dXNAZXI6d29yZA==" in proxy.requests[0]  # us@er:word


def test_no_proxy_is_used_for_the_hosts_that_need_none() -> None:
    with scripted(OK) as proxy, scripted(http("200 OK", b"direct")) as hub:
        one = new_http(ALL_PROXY=proxy.url, NO_PROXY="127.0.0.1,example.com")

        assert text(one, hub.url) == b"direct"
        assert text(one, "http://hub.invalid/") == b"hello"


def test_a_proxy_of_an_unknown_kind_is_named() -> None:
    with pytest.raises(NetworkError, match="socks5"):
        new_http(ALL_PROXY="socks5://127.0.0.1:1").open("http://hub.invalid/")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1 that nobody knows."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    subject = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:hub.invalid"]
    subprocess.run(
        ["openssl", *command, *subject, "-keyout", path, "-out", path.with_name("only")],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + path.with_name("only").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_knows_is_refused(tls: ssl.SSLContext) -> None:
    with scripted(OK, context=tls) as server, pytest.raises(NetworkError, match="certificate"):
        new_http().open(server.url)


def test_a_certificate_that_is_named_is_accepted(tls: ssl.SSLContext, certificate: Path) -> None:
    with scripted(OK, context=tls) as server:
        assert text(new_http(SSL_CERT_FILE=str(certificate)), server.url) == b"hello"


@pytest.mark.parametrize("names_fit", [True, False])
def test_a_certificate_counts_for_the_host_and_not_for_its_checked_address(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch, *, names_fit: bool
) -> None:
    monkeypatch.setattr("localrun.registry.public.is_public", lambda _: True)
    one = Http({"SSL_CERT_FILE": str(certificate)}, rule=PublicOnly())
    with scripted(OK, context=tls) as server:
        url = server.url if names_fit else server.url.replace("127.0.0.1", "localhost")
        if names_fit:
            assert text(one, url) == b"hello"
        else:
            with pytest.raises(NetworkError, match="certificate"):
                one.open(url)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nothing")

    with pytest.raises(NetworkError, match=r"cannot read certificates from .*none\.pem"):
        new_http(SSL_CERT_FILE=str(tmp_path / "none.pem")).open("https://127.0.0.1:1/")


def test_plain_http_waits_for_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        pytest.fail("certificates are read")

    monkeypatch.setattr("ssl.create_default_context", fail)

    with scripted(OK) as server:
        assert text(new_http(), server.url) == b"hello"


def test_from_https_to_http_is_refused(tls: ssl.SSLContext, certificate: Path) -> None:
    with scripted(redirect("http://127.0.0.1:1/"), context=tls) as server:
        with pytest.raises(NetworkError, match="unsafe"):
            new_http(SSL_CERT_FILE=str(certificate)).open(server.url)


@contextlib.contextmanager
def tunnel(to: str) -> Iterator[tuple[str, list[bytes]]]:
    """Run a proxy that connects one client, whatever it asks for, to a server."""
    asked: list[bytes] = []

    def relay(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        client, _ = proxy.accept()
        host, _, port = to.rpartition("/")[2].rpartition(":")
        with client, socket.create_connection((host, int(port))) as server:
            asked.append(client.recv(10_000))
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=relay, args=(server, client))
            back.start()
            relay(client, server)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{proxy.getsockname()[1]}", asked
        thread.join()


def test_https_is_tunnelled_through_a_proxy_and_verified(
    tls: ssl.SSLContext, certificate: Path
) -> None:
    with scripted(OK, context=tls) as server, tunnel(server.url) as (proxy, asked):
        one = new_http(HTTPS_PROXY=proxy, SSL_CERT_FILE=str(certificate))

        assert text(one, "https://hub.invalid/secret") == b"hello"
        one.close()

    assert asked[0].startswith(b"CONNECT hub.invalid:443 HTTP/1.")
    assert b"secret" not in asked[0]
