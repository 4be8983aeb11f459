"""Which names of the server and which web pages are let in.

A page of another site can reach a server of this machine through the user's browser. It
says so in ``Origin``; but with DNS rebinding it is of the same origin, and then only its
name in ``Host`` tells. A page cannot have a numeric address, a name without a dot or one of
the local domains as its own, unless somebody of the same network serves it.

An origin that the owner names may have wildcards in scheme, host and port, each for itself:
``moz-extension://*``, ``https://*.example``. The word ``extensions`` stands for those of browsers.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from localrun.access import ANY_ORIGIN, EXTENSIONS

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
LOCAL_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "vscode-file"})
EXTENSION_SCHEMES = frozenset({"chrome-extension", "moz-extension", "safari-web-extension"})
LOCAL_DOMAINS = ("localhost", "local", "internal", "lan", "home.arpa")


class AllowedOrigins:
    """The rules of one server; ``origins`` are pages that its owner lets in."""

    def __init__(self, origins: tuple[str, ...], *, is_loopback: bool) -> None:
        self._origins = frozenset(origins)
        own = "" if is_loopback else socket.gethostname().lower()
        self._patterns = [_pattern(origin) for origin in origins if _has_wildcard(origin)]
        named = {_name(origin) for origin in origins if not _has_wildcard(origin)}
        self._hosts = named | LOCAL_NAMES | {own}
        self._is_loopback = is_loopback

    def refusal(self, host: str, origin: str) -> str | None:
        """Return why a request is refused, None when it is not."""
        if not self._knows(_name(f"//{host}")):
            return f"the Host header names another machine: {host[:100]}"
        if origin and not self._lets_in(origin):
            return f"pages of {origin[:100]} may not use this server (LOCALRUN_ORIGINS names more)"
        return None

    def _knows(self, name: str | None) -> bool:
        if name in self._hosts:
            return True
        return not self._is_loopback and (name is None or _is_of_no_page(name))

    def _lets_in(self, origin: str) -> bool:
        asked, scheme = origin.lower(), _scheme(origin)
        if ANY_ORIGIN in self._origins or asked in self._origins:
            return True
        if scheme in EXTENSION_SCHEMES and EXTENSIONS in self._origins:
            return True
        if any(pattern.fullmatch(asked) for pattern in self._patterns):
            return True
        return scheme in LOCAL_SCHEMES or _name(origin) in LOCAL_NAMES


def _has_wildcard(origin: str) -> bool:
    return "*" in origin and origin != ANY_ORIGIN


def _pattern(origin: str) -> re.Pattern[str]:
    """Return the expression of an origin with wildcards, none of which reaches past its part."""
    return re.compile(re.sub(r"(?:\\\*)+", "[^:/]*", re.escape(origin)))


def _is_of_no_page(name: str) -> bool:
    """Return whether no page of the internet can have this name."""
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
