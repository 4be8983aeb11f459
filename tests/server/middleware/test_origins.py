from __future__ import annotations

import pytest

from localrun.access import load_access
from localrun.errors import UsageError
from localrun.server.middleware.origins import AllowedOrigins

LOOPBACK = AllowedOrigins((), is_loopback=True)
OPEN = AllowedOrigins((), is_loopback=False)
NAMED = AllowedOrigins(("https://chat.example",), is_loopback=True)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:11435", "", "127.0.0.1.evil.example"]
)
def test_on_loopback_other_names_are_refused(host: str) -> None:
    assert LOOPBACK.refusal(host, "") is not None


@pytest.mark.parametrize(
    "host", ["192.168.1.5:11435", "[fe80::1]", "box", "box.local", "a.b.internal."]
)
def test_an_open_address_takes_names_that_no_page_can_have(host: str) -> None:
    assert OPEN.refusal(host, "") is None
    assert LOOPBACK.refusal(host, "") is not None


@pytest.mark.parametrize(
    "host", ["evil.example", "rebind.network:11435", "1.2.3.4.evil.example", "[::1"]
)
def test_an_open_address_refuses_names_of_the_internet(host: str) -> None:
    assert (OPEN.refusal(host, "") is None) == (host == "[::1")  # which is no name at all


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://[", "x"]
)
def test_pages_of_others_are_refused(origin: str) -> None:
    for origins in (LOOPBACK, OPEN, NAMED):
        assert origins.refusal("localhost", origin) is not None


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://127.0.0.1", "tauri://x", "vscode-webview://a"]
)
def test_pages_of_this_machine_are_let_in(origin: str) -> None:
    assert LOOPBACK.refusal("localhost", origin) is None


def test_pages_that_the_owner_names_are_let_in_under_their_name_too() -> None:
    assert NAMED.refusal("localhost", "https://chat.example") is None
    assert NAMED.refusal("chat.example", "https://chat.example") is None
    assert NAMED.refusal("localhost", "http://chat.example") is not None
    assert (
        AllowedOrigins(("*",), is_loopback=True).refusal("localhost", "https://any.example") is None
    )


@pytest.mark.parametrize(
    ("named", "origin", "is_let_in"),
    [
        ("moz-extension://*", "moz-extension://0b4c-12", True),
        ("moz-extension://*", "chrome-extension://0b4c", False),
        ("extensions", "chrome-extension://abc", True),
        ("extensions", "moz-extension://abc", True),
        ("extensions", "https://abc", False),
        ("*-extension://abc", "chrome-extension://abc", True),
        ("https://*.chat.example", "https://a.b.chat.example", True),
        ("https://*.chat.example", "https://chat.example", False),
        ("https://*.chat.example", "https://evil.example:1.chat.example", False),
        ("https://*.chat.example", "https://a.chat.example:8443", False),
        ("https://chat.example:*", "https://chat.example:8443", True),
        ("https://*", "https://any.example", True),
        ("https://*", "http://any.example", False),
    ],
)
def test_wildcards_stand_for_a_part_of_an_origin(
    named: str, origin: str, *, is_let_in: bool
) -> None:
    origins = AllowedOrigins(load_access({"LOCALRUN_ORIGINS": named}).origins, is_loopback=True)

    assert (origins.refusal("localhost", origin) is None) == is_let_in


def test_a_name_with_wildcards_is_no_name_of_the_server() -> None:
    origins = AllowedOrigins(("https://*.chat.example",), is_loopback=True)

    assert origins.refusal("a.chat.example", "") is not None


def test_origins_are_read_from_the_environment() -> None:
    told = {"LOCALRUN_ORIGINS": "https://Chat.example/, http://10.0.0.5:3000 *"}

    assert load_access(told).origins == ("https://chat.example", "http://10.0.0.5:3000", "*")


@pytest.mark.parametrize("text", ["chat.example", "https://chat.example/path", "https://["])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="LOCALRUN_ORIGINS"):
        load_access({"LOCALRUN_ORIGINS": text})


def test_own_pages_are_accepted_on_every_address_that_the_host_may_name() -> None:
    origins = AllowedOrigins((), is_loopback=False)

    assert origins.refusal("192.168.1.5:11435", "http://192.168.1.5:11435") is None
    assert origins.refusal("192.168.1.5:11435", "http://192.168.1.6:11435") is not None
    assert origins.refusal("evil.example", "http://evil.example") is not None
