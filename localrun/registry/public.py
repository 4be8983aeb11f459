"""Rule for downloads that a server makes for its clients: connect to public addresses only.

A client of a server must not explore the server's network: loopback, private and link-local
addresses, which include the metadata services of clouds, are refused, also after a redirect.
Names are resolved here, and the address that was checked is the address that is connected to, so
a DNS answer that changes in between has no effect. A name that does not exist and a name with a
private address get the same error.

Hosts that the server's owner has listed are exempt. Behind a proxy, the proxy connects: then a
name is refused if it resolves to a private address here, or if only private networks use it.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

from localrun.errors import PrivateAddressError
from localrun.registry.origins import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_TRIED = 4  # addresses of a host
PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# names of private networks (RFC 6761, 6762, 8375, 9476), and names that clouds and offices use
PRIVATE_ENDINGS = (
    ".localhost", ".local", ".internal", ".home.arpa", ".lan", ".intranet", ".corp", ".home",
    ".private",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PublicOnly:
    """Rule for hosts; ``named`` holds the exempt hosts as "host" or "host:port".

    ``on_connect`` gets each new connection, before TLS, and may refuse it.
    """

    named: frozenset[str] = frozenset()
    on_connect: Callable[[socket.socket], None] | None = field(default=None, compare=False)

    @classmethod
    def except_for(cls, named: Iterable[str]) -> PublicOnly:
        """Return the rule with exempt hosts: host, host:port or URL."""
        return cls(frozenset(filter(None, map(_host_and_port, named))))

    def is_named(self, host: str, port: int) -> bool:
        """Return whether a host is exempt."""
        host = host.strip("[]").lower()
        return host in self.named or f"{host}:{port}" in self.named

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the public addresses of a host; blocks.

        Raises:
            PrivateAddressError: the host has no public address.
            OSError: name resolution is temporarily unavailable.
        """
        try:
            addresses = _resolved(host, port)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise
            addresses = []
        public_addresses = [address for address in addresses if is_public(address)]
        if not public_addresses:
            raise _refusal(host)
        return public_addresses

    def check_proxied(self, host: str, port: int) -> None:
        """Check that a proxy may connect to a host; blocks.

        Raises:
            PrivateAddressError: the name is private, or resolves to a private address here.
        """
        if self.is_named(host, port):
            return
        try:
            addresses = _resolved(host, port)
        except OSError:  # only the proxy can resolve names
            addresses = []
        name = host.rstrip(".").lower()
        is_private_name = not addresses and ("." not in name or name.endswith(PRIVATE_ENDINGS))
        if is_private_name or not all(map(is_public, addresses)):
            raise _refusal(host)


def is_public(text: str) -> bool:
    """Return whether a numeric address is public, including an IPv4 address embedded in IPv6."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    embedded = _embedded_ipv4(address)
    if embedded is not None:
        return is_public(str(embedded))
    if isinstance(address, ipaddress.IPv6Address) and address not in PUBLIC_IPV6:
        return False
    return address.is_global and not address.is_multicast


def pool_classes(rule: PublicOnly) -> Mapping[str, type[HTTPConnectionPool]]:
    """Return urllib3's pool classes with connections that apply the rule."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _announced(_connected(self, rule) or super()._new_conn(), rule)

    class TlsConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _announced(_connected(self, rule) or super()._new_conn(), rule)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": Pool, "https": TlsPool}


def _connected(connection: HTTPConnection, rule: PublicOnly) -> socket.socket | None:
    """Return a socket to a public address of the host, or None if the host is exempt."""
    host, port = connection.host.strip("[]"), connection.port
    if rule.is_named(host, port):
        return None
    problem: OSError | None = None
    for address in rule.addresses(host, port)[:MAX_TRIED]:
        try:
            return create_connection(
                (address, port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            problem = error
    raise urllib3.exceptions.NewConnectionError(connection, str(problem)) from problem


def _announced(connection: socket.socket, rule: PublicOnly) -> socket.socket:
    if rule.on_connect is not None:
        try:
            rule.on_connect(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _resolved(host: str, port: int) -> list[str]:
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # not a valid DNS name
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))


def _embedded_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address maps to, or None."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _host_and_port(text: str) -> str:
    """Return lower-case ``host`` or ``host:port`` of a host or a URL, or "" if neither."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return ""
    return host if not host or port is None else f"{host}:{port}"


def _refusal(host: str) -> PrivateAddressError:
    return PrivateAddressError(
        f"{host} has no public address; a server connects only to public hosts for its clients",
        hint=f"set LOCALRUN_PULL_PRIVATE={host} for the server, "
        "or run `localrun pull` on its machine",
    )
