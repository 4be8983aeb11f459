"""Privacy of kept chats: only their owner's programs and pages reach them.

A server without API keys serves chats to this machine alone, and in a browser only to its own
pages: another page that may use the models (``LOCALRUN_ORIGINS``) may not read what was said to
them. A request with a valid API key is its owner's, wherever it comes from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from localrun.settings import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from starlette.types import Scope

FORBIDDEN = 403
FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip")  # a proxy sends others' requests
OWN_SITES = (b"same-origin", b"none")  # of Sec-Fetch-Site: own pages, and an address typed in
REFUSAL = "chats are private: other machines and other web pages need an API key of this server"


def refuse_others(scope: Scope) -> None:
    """Refuse a request that is neither of this machine nor has an API key.

    Raises:
        HTTPException: with status 403.
    """
    if not (scope["state"].get("has_api_key") or _is_own(scope)):
        raise HTTPException(FORBIDDEN, REFUSAL)


def _is_own(scope: Scope) -> bool:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    peer = scope.get("client")
    if peer is None or peer[0] not in LOOPBACK_HOSTS or any(map(headers.__contains__, FORWARDED)):
        return False
    if headers.get(b"sec-fetch-site", b"none") not in OWN_SITES:
        return False
    origin = headers.get(b"origin")
    return origin is None or _host(origin.decode("latin-1")) == headers.get(b"host", b"").lower()


def _host(origin: str) -> bytes:
    try:
        return urlsplit(origin).netloc.lower().encode("latin-1")
    except ValueError:
        return b"?"  # of no Host header
