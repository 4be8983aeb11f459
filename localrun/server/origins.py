"""Which names of the server and which web pages are let in.

A page of another site can reach a server of this machine through the user's browser. It
says so in ``Origin``; but with DNS rebinding it is of the same origin, and then only its
name in ``Host`` tells. A page cannot have a numeric address, a name without a dot or one of
the local domains as its own, unless somebody of the same network serves it.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from localrun.access import ANY_ORIGIN

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
LOCAL_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "vscode-file"})
LOCAL_DOMAINS = ("localhost", "local", "internal", "lan", "home.arpa")


class Visitors:
    """The rules of one server; ``origins`` are pages that its owner lets in."""

    def __init__(self, origins: tuple[str, ...], *, is_loopback: bool) -> None:
        self._origins = frozenset(origins)
        own = "" if is_loopback else socket.gethostname().lower()
        self._hosts = {_name(origin) for origin in origins} | LOCAL_NAMES | {own}
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
        if ANY_ORIGIN in self._origins or origin.lower() in self._origins:
            return True
        return _scheme(origin) in LOCAL_SCHEMES or _name(origin) in LOCAL_NAMES


def _is_of_no_page(name: str) -> bool:
    """Tell whether no page of the internet can have this name."""
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
