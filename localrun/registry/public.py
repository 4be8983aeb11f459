"""Connections to public addresses only, for pulls that others have asked a server for.

Whoever may use a server may not use it to look around in its network: loopback, private and
link-local addresses, and with them the metadata services of clouds, are refused, also after a
redirect. A name is resolved here and the address that was checked is the one connected to, so
that a name which means another address a moment later gains nothing. A name that does not exist
and one of a private address get the same answer.

Hosts that the server's owner has named are not checked. Behind a proxy it is the proxy that
connects: then a name is refused if it means a private address here, or only such networks use it.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

from localrun.errors import PrivateAddressError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# of networks that are not public (RFC 6761, 6762, 8375, 9476), and what clouds and offices use
PRIVATE_ENDINGS = (
    ".localhost", ".local", ".internal", ".home.arpa", ".lan", ".intranet", ".corp", ".home",
    ".private",
)  # fmt: skip
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class PublicOnly:
    """Which hosts may be connected to; ``named`` are "host" or "host:port"."""

    named: frozenset[str] = frozenset()

    @classmethod
    def except_for(cls, named: Iterable[str]) -> PublicOnly:
        """Return the rule with what the owner has named: hosts, with a port or not, or URLs."""
        return cls(frozenset(filter(None, map(_host_and_port, named))))

    def is_named(self, host: str, port: int) -> bool:
        """Return whether the owner has named a host."""
        host = host.strip("[]").lower()
        return host in self.named or f"{host}:{port}" in self.named

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the public addresses of a host; blocks.

        Raises:
            PrivateAddressError: it has none.
            OSError: nobody can be asked for the name now.
        """
        try:
            found = _resolved(host, port)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise
            found = []
        addresses = [address for address in found if is_public(address)]
        if not addresses:
            raise _refusal(host)
        return addresses

    def check_proxied(self, host: str, port: int) -> None:
        """Return if a proxy may be asked to connect to a host; blocks.

        Raises:
            PrivateAddressError: it is private by its name, or means a private address here.
        """
        if self.is_named(host, port):
            return
        try:
            found = _resolved(host, port)
        except OSError:  # the proxy alone knows names
            found = []
        name = host.rstrip(".").lower()
        is_private_name = not found and ("." not in name or name.endswith(PRIVATE_ENDINGS))
        if is_private_name or not all(map(is_public, found)):
            raise _refusal(host)


def is_public(text: str) -> bool:
    """Return whether an address, in digits, is one of the internet; those inside count too."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    inside = _inside(address)
    if inside is not None:
        return is_public(str(inside))
    if isinstance(address, ipaddress.IPv6Address) and address not in PUBLIC_IPV6:
        return False
    return address.is_global and not address.is_multicast


def pool_classes(rule: PublicOnly) -> Mapping[str, type[HTTPConnectionPool]]:
    """Return urllib3's pools with connections that keep to the rule."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, rule) or super()._new_conn()

    class TlsConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, rule) or super()._new_conn()

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": Pool, "https": TlsPool}


def _connected(connection: HTTPConnection, rule: PublicOnly) -> socket.socket | None:
    """Return a socket to a public address of the host, None for one that the owner has named."""
    host, port = connection.host.strip("[]"), connection.port
    if rule.is_named(host, port):
        return None
    problem: OSError | None = None
    for address in rule.addresses(host, port):
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


def _resolved(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # no name that can be asked for
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _inside(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to, None if there is none."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _host_and_port(text: str) -> str:
    """Return ``host`` or ``host:port`` in lower case of that or of a URL, "" for neither."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return ""
    return host if not host or port is None else f"{host}:{port}"


def _refusal(host: str) -> PrivateAddressError:
    return PrivateAddressError(
        f"{host} has no public address, and a server connects to no others for its clients",
        hint=f"LOCALRUN_PULL_PRIVATE={host} in the server's environment allows it; "
        "`localrun pull` on its machine needs no leave",
    )
