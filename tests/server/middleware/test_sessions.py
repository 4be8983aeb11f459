from __future__ import annotations

import pytest

from localrun.server.middleware.keys import Keys
from localrun.server.middleware.sessions import SESSION_S, Sessions, is_own_page, session_cookie

HOST = {b"host": b"localhost:11435"}
OWN = HOST | {b"sec-fetch-site": b"same-origin"}


def headers(token: str) -> dict[bytes, bytes]:
    cookie = session_cookie(HOST, token, is_secure=False).partition(";")[0]
    return OWN | {b"cookie": b"other=1; " + cookie.encode()}


def test_a_session_outlives_the_server_and_ends_with_its_key() -> None:
    token = Sessions(Keys({"a": "one", "b": "two"})).open("two")

    assert token is not None
    assert Sessions(Keys({"b": "two"})).name_of("GET", headers(token)) == "b"
    assert Sessions(Keys({"a": "one"})).name_of("GET", headers(token)) is None


def test_a_session_ends_after_its_time() -> None:
    now_s = [1000.0]
    sessions = Sessions(Keys({"a": "one"}), lambda: now_s[0])
    token = sessions.open("one") or ""

    now_s[0] += SESSION_S - 1
    assert sessions.name_of("GET", headers(token)) == "a"
    now_s[0] += 1
    assert sessions.name_of("GET", headers(token)) is None


def test_servers_on_other_ports_have_other_cookies() -> None:
    assert session_cookie({b"host": b"localhost:1"}, "x", is_secure=True) == (
        "localrun-session-1=x; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure"
    )


@pytest.mark.parametrize(
    ("method", "sent", "expected"),
    [
        ("POST", {b"sec-fetch-site": b"same-origin"}, True),
        ("GET", {b"sec-fetch-site": b"none"}, True),
        ("GET", {b"sec-fetch-site": b"same-site"}, False),
        ("POST", {b"origin": b"http://localhost:11435"}, True),
        ("POST", {b"origin": b"http://localhost:3000"}, False),
        ("GET", {}, True),
        ("POST", {}, False),
        ("POST", {b"sec-fetch-site": b"same-origin", b"origin": b"http://[x"}, False),
    ],
)
def test_own_pages(method: str, sent: dict[bytes, bytes], expected: bool) -> None:  # noqa: FBT001 - a row
    assert is_own_page(method, HOST | sent) is expected
