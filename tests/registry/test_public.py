"""Connections on behalf of others: to public addresses only, whatever a name means next."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import PrivateAddressError
from localrun.registry.http import Http
from localrun.registry.public import PublicOnly, is_public
from tests.registry.scripted import http, scripted

OK = http("200 OK", b"hello")
PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1",  # noqa: S104
    "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2001:db8::1", "::7f00:1", "100::1", "",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return what names mean, to be filled by a test: one address for each time they are asked."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **options: Any) -> Any:
        if host not in known:
            return real(host, *arguments, **{**options, "flags": socket.AI_NUMERICHOST})
        meanings = known[host]
        meant = meanings.pop(0) if len(meanings) > 1 else meanings[0]
        return real(meant, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def status(one: Http, url: str) -> int:
    with one.open(url) as response:
        return response.status


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_counts(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for outer in (0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert is_public(str(ipaddress.IPv6Address(outer))) == is_public(str(address))


def test_a_private_host_is_not_connected_to(names: dict[str, list[str]]) -> None:
    with scripted(OK) as server:
        port = server.url.rpartition(":")[2]
        names["inside.example"] = ["127.0.0.1"]
        for host in ("127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "inside.example"):
            with pytest.raises(PrivateAddressError, match="no public address"):
                status(Http({}, rule=PublicOnly()), f"http://{host}:{port}/")

    assert server.requests == []


def test_a_name_that_does_not_exist_gets_the_answer_of_a_private_one(
    names: dict[str, list[str]],
) -> None:
    names["inside.example"] = ["10.0.0.1"]
    said = []
    for host in ("inside.example", "nothing.example"):
        with pytest.raises(PrivateAddressError) as caught:
            status(Http({}, rule=PublicOnly()), f"https://{host}/")
        said.append(str(caught.value).replace(host, "HOST"))

    assert said[0] == said[1]


def test_a_redirect_to_a_private_host_is_not_followed() -> None:
    with scripted(OK) as inside, scripted(http("302 Found", Location=inside.url)) as outside:
        rule = PublicOnly.except_for([outside.url])
        with pytest.raises(PrivateAddressError):
            status(Http({}, rule=rule), outside.url)

    assert len(outside.requests) == 1
    assert inside.requests == []


def test_a_name_that_means_another_address_a_moment_later_gains_nothing(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]
) -> None:
    """The address that was checked is the one connected to, without a second look at the name."""
    connected: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address)
        raise OSError("nobody is there")

    monkeypatch.setattr("localrun.registry.public.create_connection", connect)
    names["moving.example"] = ["93.184.216.34", "127.0.0.1"]
    one = Http({}, rule=PublicOnly())

    with pytest.raises(Exception, match="nobody is there"):
        one.open("http://moving.example/")
    with pytest.raises(PrivateAddressError):
        one.open("http://moving.example/")

    assert connected == [("93.184.216.34", 80)]


@pytest.mark.parametrize("with_port", [True, False])
def test_a_host_that_the_owner_named_is_connected_to(*, with_port: bool) -> None:
    with scripted(OK) as server:
        named = server.url if with_port else "127.0.0.1"

        assert status(Http({}, rule=PublicOnly.except_for([named])), server.url) == 200


def test_another_port_of_a_named_host_is_not() -> None:
    with scripted(OK) as server:
        rule = PublicOnly.except_for(["127.0.0.1:1"])
        with pytest.raises(PrivateAddressError):
            status(Http({}, rule=rule), server.url)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "metadata.google.internal", "router", "printer.local"]
)
@pytest.mark.usefixtures("names")
def test_a_proxy_is_not_asked_for_a_private_host(host: str) -> None:
    with scripted(OK) as proxy:
        with pytest.raises(PrivateAddressError):
            status(Http({"http_proxy": proxy.url}, rule=PublicOnly()), f"http://{host}/")

    assert proxy.requests == []


@pytest.mark.usefixtures("names")
def test_a_proxy_on_this_machine_is_used_for_names_that_only_it_knows() -> None:
    with scripted(OK) as proxy:
        one = Http({"http_proxy": proxy.url}, rule=PublicOnly())

        assert status(one, "http://hub.example/x") == 200


def test_without_a_rule_all_hosts_are_connected_to() -> None:
    with scripted(OK) as server:
        assert status(Http({}), server.url) == 200
