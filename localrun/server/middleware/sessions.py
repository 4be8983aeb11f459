"""Sessions of browsers: a cookie in place of the API key, which a page could not keep as safely.

The cookie has the time of its end, a random number, and their MAC under the hash of the key with
which the user logged in. So it outlives the server, which keeps no list, and ends with its key.

A cookie counts only for requests of the server's own pages: browsers send it from any page of the
same host, whatever its port. Invariant: no cookie is set or read by a server without keys.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.server.middleware.keys import Keys

SESSION_S = 30 * 24 * 3600
COOKIE = "localrun-session"
TOKEN = re.compile(r"([0-9]{1,12})\.[0-9a-f]{32}\.[0-9a-f]{64}", re.ASCII)
LONGEST_HEADER = 16 * 1024
SAFE_METHODS = frozenset({"GET", "HEAD"})
OWN_SITES = (b"same-origin", b"none")  # of Sec-Fetch-Site: own pages, and an address typed in


class Sessions:
    """Sessions under the keys of one server."""

    def __init__(self, keys: Keys, clock_s: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock_s = clock_s

    def open(self, key: str) -> str | None:
        """Return the token of a new session, None if the key is wrong."""
        message = f"{int(self._clock_s()) + SESSION_S}.{secrets.token_hex(16)}"
        mac = self._keys.macs(message).get(self._keys.name_of(key) or "")
        return None if mac is None else f"{message}.{mac}"

    def name_of(self, method: str, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the name of the key of a request's session, None if it has no valid one."""
        token = _cookie(headers)
        match = TOKEN.fullmatch(token)
        if match is None or not is_own_page(method, headers):
            return None
        if int(match[1]) <= self._clock_s():
            return None
        message, _, mac = token.rpartition(".")
        matching_name = None
        for name, own_mac in self._keys.macs(message).items():
            if hmac.compare_digest(mac, own_mac):
                matching_name = name
        return matching_name


def session_cookie(headers: Mapping[bytes, bytes], token: str, *, is_secure: bool) -> str:
    """Return the header that sets the cookie of a session; an empty token ends the session."""
    age_s = SESSION_S if token else 0
    secure = "; Secure" if is_secure else ""
    name = _name(headers)
    return f"{name}={token}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"


def is_own_page(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a browser sends a request for one of the server's own pages.

    Browsers state it by Sec-Fetch-Site, but not on an address without TLS beyond this machine;
    there every request that may change something has an Origin.
    """
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if origin is not None and not is_same_host(origin, headers.get(b"host", b"")):
        return False
    if site is not None:
        return site in OWN_SITES
    return origin is not None or method in SAFE_METHODS


def is_same_host(origin: bytes, host: bytes) -> bool:
    """Return whether an origin has the name and port of a Host header."""
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower() == host.decode("latin-1").lower()
    except ValueError:
        return False


def _cookie(headers: Mapping[bytes, bytes]) -> str:
    """Return the token of a request, "" if there is none."""
    header = headers.get(b"cookie", b"")[:LONGEST_HEADER].decode("latin-1")
    start = f"{_name(headers)}="
    pairs = (pair.strip() for pair in header.split(";"))
    return next((pair[len(start) :] for pair in pairs if pair.startswith(start)), "")


def _name(headers: Mapping[bytes, bytes]) -> str:
    """Return the name of the cookie, with the port: browsers share cookies between ports."""
    _, _, port = headers.get(b"host", b"").decode("latin-1").rpartition(":")
    return f"{COOKIE}-{port}" if port.isascii() and port.isdigit() else COOKIE
