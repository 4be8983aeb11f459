"""Connection pools of urllib3: TLS that is always verified, and the user's proxies.

Proxies are configured as for curl: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either
case. On macOS and Windows the system's proxies apply if no variable is set.
"""

from __future__ import annotations

import contextlib
import ssl
import sys
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import urllib3

from localrun import __version__
from localrun.errors import NetworkError
from localrun.registry.origins import DEFAULT_PORTS
from localrun.registry.public import pool_classes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.registry.public import PublicOnly

POOL_SIZE = 16
HEADERS = {"User-Agent": f"localrun/{__version__}", "Accept-Encoding": "identity"}


class ConnectionPools:
    """Open connections by scheme and proxy; each pool is made on first use.

    Loading the system's certificates takes longer than everything else, so it is done lazily.
    """

    def __init__(
        self, environ: Mapping[str, str], timeout: urllib3.Timeout, rule: PublicOnly | None = None
    ) -> None:
        self._environ = environ
        self._rule = rule
        self._options: dict[str, Any] = {
            "timeout": timeout,
            "retries": False,
            "maxsize": POOL_SIZE,
            "headers": HEADERS,
        }
        self._named = _proxies(environ)
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()  # guards _pools; no other lock is taken inside

    def for_url(self, url: urllib3.util.Url) -> urllib3.PoolManager:
        """Return the pool for a URL's host.

        Raises:
            NetworkError: the proxy is neither http nor https.
            PrivateAddressError: the rule forbids a connection to the host by a proxy.
        """
        scheme, host = url.scheme or "http", url.host or ""
        proxy = "" if self._is_direct(host) else self._named.get(scheme, "")
        if proxy and self._rule is not None:
            self._rule.check_proxied(host.strip("[]"), url.port or DEFAULT_PORTS[scheme])
        with self._lock:
            if (scheme, proxy) not in self._pools:
                self._pools[scheme, proxy] = self._pool(scheme, proxy)
            return self._pools[scheme, proxy]

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()

    def _pool(self, scheme: str, proxy: str) -> urllib3.PoolManager:
        address = proxy if not proxy or "//" in proxy else f"http://{proxy}"
        kind = address.partition(":")[0].lower()
        if kind not in {"", "http", "https"}:
            raise NetworkError(
                f"the proxy for {scheme} has the scheme {kind}; only http and https are supported",
                hint=f"{scheme.upper()}_PROXY=http://HOST:PORT   sets another proxy",
            )
        options = dict(self._options)
        if "https" in {scheme, kind}:
            options["ssl_context"] = _tls(self._environ)
        if proxy:
            return _proxy(address, options)
        pool = urllib3.PoolManager(**options)
        if self._rule is not None:
            pool.pool_classes_by_scheme = dict(pool_classes(self._rule))
        return pool

    def _is_direct(self, host: str) -> bool:
        bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined] # typeshed
        return bool(bypass(host, self._named))


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies by scheme, and the hosts without proxy under ``no``."""
    variables = sorted(environ.items(), key=lambda item: item[0].islower())  # lower case wins
    named = {
        name.lower().removesuffix("_proxy"): address
        for name, address in variables
        if name.lower().endswith("_proxy") and address
    }
    if not named.keys() - {"no"} and sys.platform in {"darwin", "win32"}:
        named = urllib.request.getproxies() | named
    everything = {scheme: named["all"] for scheme in ("http", "https") if "all" in named}
    return everything | named


def _proxy(address: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    parts = urlsplit(address)
    headers = None
    if parts.username:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=user)
    clean = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(clean, proxy_headers=headers, **options)


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return a verifying TLS context: the system's certificates, and those of a variable."""
    named = environ.get("SSL_CERT_FILE") or environ.get("REQUESTS_CA_BUNDLE")
    context = ssl.create_default_context()
    if named and Path(named).is_file():
        _load(context, named)
    if not context.cert_store_stats()["x509_ca"]:
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def _load(context: ssl.SSLContext, named: str) -> None:
    try:
        context.load_verify_locations(named)
    except OSError as error:
        raise NetworkError(
            f"cannot read certificates from {named}",
            hint="set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to a file of PEM certificates",
        ) from error
