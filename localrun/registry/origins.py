"""URLs of downloads: their origins, logins and redirects.

A credential belongs to one origin and is never sent to another, not even after a redirect. A login
in a URL (``https://user:pw@host``) is removed from the URL and sent as a header; a login in a
redirect target is dropped. A URL that parsers read differently is refused.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urljoin

from localrun.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3

DEFAULT_PORTS = {"http": 80, "https": 443}
UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Headers that are sent to one origin only."""

    origin: str  # "https://hf.co", with the port if it is not the scheme's
    headers: Mapping[str, str] = field(repr=False)

    def for_url(self, url: str) -> Mapping[str, str]:
        """Return the headers if the URL belongs to the origin, else an empty mapping."""
        return self.headers if origin_of(url) == self.origin else {}


def origin_of(url: str) -> str:
    """Return scheme and host, with the port unless it is the scheme's default."""
    parts = parse_url(url)
    port = "" if parts.port in {None, DEFAULT_PORTS.get(parts.scheme or "")} else f":{parts.port}"
    return f"{parts.scheme}://{parts.host or ''}{port}"


def split_login(url: str) -> tuple[str, Credential | None]:
    """Return a URL without its login, and the login as a credential for its origin (RFC 7617)."""
    login = parse_url(url).auth
    if login is None:
        return url, None
    scheme, _, address = url.partition("://")
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    clean = f"{scheme}://{address[authority.rfind('@') + 1 :]}"
    user, _, password = login.partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    headers = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return clean, Credential(origin=origin_of(clean), headers=headers)


def host_of(url: str) -> str:
    """Return host and port for messages: path and query of a URL may hold secrets."""
    return parse_url(url).netloc or url.partition("?")[0]


def next_url(url: str, location: str) -> str:
    """Return the target of a redirect without its login; refuse one that is not as safe."""
    try:
        target = urljoin(url, location)
    except ValueError as error:
        raise NetworkError(f"{host_of(url)} redirects to an invalid address") from error
    old_scheme, new_scheme = parse_url(url).scheme, parse_url(target).scheme
    is_downgrade = (old_scheme, new_scheme) == ("https", "http")
    if new_scheme not in {"http", "https"} or is_downgrade:
        raise NetworkError(f"{host_of(url)} redirects to an unsafe address")
    return split_login(target)[0]


def parse_url(url: str) -> urllib3.util.Url:
    """Parse a URL as urllib3 does when it connects; refuse what other parsers read differently."""
    import urllib3

    if UNSAFE.search(url):
        raise NetworkError(f"not an address: {url.partition('?')[0][:200]!r}")
    try:
        return urllib3.util.parse_url(url)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise NetworkError(f"not an address: {url.partition('?')[0][:200]!r}") from error
