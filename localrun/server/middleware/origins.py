"""Allowed hosts and CORS origins.

A web page of another site can reach a server on this machine through the user's browser. Its
requests carry ``Origin``. With DNS rebinding the page has the same origin as the server, and only
the name in ``Host`` reveals it. A page cannot have a numeric address, a name without a dot or a
name in a local domain, unless a machine of the same network serves it.

An origin in the settings may have wildcards in scheme, host and port, each within its part:
``moz-extension://*``, ``https://*.example``. The word ``extensions`` means all browser extensions.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from localrun.access import ANY_ORIGIN, EXTENSIONS
from localrun.settings import LOOPBACK_HOSTS

LOCAL_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "vscode-file"})
EXTENSION_SCHEMES = frozenset({"chrome-extension", "moz-extension", "safari-web-extension"})
LOCAL_DOMAINS = ("localhost", "local", "internal", "lan", "home.arpa")


class AllowedOrigins:
    """Rules of one server; ``origins`` are the pages that its owner allows."""

    def __init__(self, origins: tuple[str, ...], *, is_loopback: bool) -> None:
        self._origins = frozenset(origins)
        own = "" if is_loopback else socket.gethostname().lower()
        self._patterns = [_pattern(origin) for origin in origins if _has_wildcard(origin)]
        named = {_name(origin) for origin in origins if not _has_wildcard(origin)}
        self._hosts = named | LOOPBACK_HOSTS | {own}
        self._is_loopback = is_loopback

    def refusal(self, host: str, origin: str) -> str | None:
        """Return the reason to refuse a request, None if it is allowed."""
        if not self._accepts_host(_name(f"//{host}")):
            return f"the Host header names another machine: {host[:100]}"
        if origin and not (_is_own(origin, host) or self._accepts_origin(origin)):
            return f"pages of {origin[:100]} may not use this server (LOCALRUN_ORIGINS names more)"
        return None

    def _accepts_host(self, name: str | None) -> bool:
        if name in self._hosts:
            return True
        return not self._is_loopback and (name is None or _is_never_public(name))

    def _accepts_origin(self, origin: str) -> bool:
        lowered, scheme = origin.lower(), _scheme(origin)
        if ANY_ORIGIN in self._origins or lowered in self._origins:
            return True
        if scheme in EXTENSION_SCHEMES and EXTENSIONS in self._origins:
            return True
        if any(pattern.fullmatch(lowered) for pattern in self._patterns):
            return True
        return scheme in LOCAL_SCHEMES or _name(origin) in LOOPBACK_HOSTS


def _is_own(origin: str, host: str) -> bool:
    """Return whether an origin is that of the server's own pages; the host has been accepted."""
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _has_wildcard(origin: str) -> bool:
    return "*" in origin and origin != ANY_ORIGIN


def _pattern(origin: str) -> re.Pattern[str]:
    """Return the expression of an origin with wildcards; a wildcard matches within one part."""
    return re.compile(re.sub(r"(?:\\\*)+", "[^:/]*", re.escape(origin)))


def _is_never_public(name: str) -> bool:
    """Return whether no web page of the internet can have this host name."""
    name = name.rstrip(".")
    if "." not in name or name.endswith(tuple(f".{domain}" for domain in LOCAL_DOMAINS)):
        return True
    return _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
