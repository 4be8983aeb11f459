"""HTTP API of one OCI registry: URLs, authentication on request, and error messages.

Knows nothing about models. Makes every URL of a registry absolute, and never follows one from
https to http.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from localrun.errors import ModelNameError, NetworkError
from localrun.registry.http import REDIRECTS, http_error
from localrun.registry.oci.accounts import DOCKER_HOSTS, find_account
from localrun.registry.oci.auth import RegistryAuth
from localrun.registry.origins import origin_of
from localrun.settings import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from localrun.registry.http import Http, HttpError, Response
    from localrun.registry.origins import Credential

DOCKER_API = "registry-1.docker.io"
HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII)
PART = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
ERROR_CODE = re.compile(r"[A-Z][A-Z_]{1,40}")
MAX_ERROR_BYTES = 1 << 16
OK, UNAUTHORIZED, NOT_FOUND = 200, 401, 404
DENIED = {401, 403}


class RegistryApi:
    """API of one registry. Safe to use from many threads."""

    def __init__(
        self,
        http: Http,
        host: str,
        *,
        environ: Mapping[str, str],
        home: Path,
        is_insecure: bool = False,
    ) -> None:
        self._http = http
        self.host = host
        self.origin = origin_of_host(host, is_insecure=is_insecure)
        self.auth = RegistryAuth(
            http, host, self.origin, account=lambda: find_account(host, environ, home)
        )

    def url(self, repo: str, *parts: str) -> str:
        """Return the URL of a repository's resource.

        Raises:
            ModelNameError: ``repo`` is not a repository name.
        """
        if not all(PART.fullmatch(part) for part in repo.split("/")):
            raise ModelNameError(f"not a repository name: {repo!r}")
        path = "/".join((repo, *(quote(part, safe=":") for part in parts)))
        return f"{self.origin}/v2/{path}"

    def call(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Response:
        """Send a request, retry it once with authentication if asked, and return the response.

        The body must yield the same bytes each time that it is iterated.

        Raises:
            NetworkError: the registry does not answer, or issues no token.
        """
        credential = self.auth.current(scopes)
        response = self._send(method, url, credential, headers, body)
        if response.status != UNAUTHORIZED or origin_of(response.url) != self.origin:
            return response  # a storage host cannot ask for this registry's login
        fresh = self.auth.answer(response.header("WWW-Authenticate"), scopes, credential)
        if fresh is None:
            return response
        response.close()
        return self._send(method, url, fresh, headers, body)

    def has_blob(self, repo: str, digest: str, scopes: tuple[str, ...]) -> bool:
        """Return whether a repository has a blob.

        Raises:
            NetworkError: the registry refuses or does not answer.
        """
        with self.call("HEAD", self.url(repo, "blobs", digest), scopes) as response:
            if response.status == OK or response.status in REDIRECTS:
                return True
            if response.status == NOT_FOUND:
                return False
            raise self.refusal(response, f"{repo}@{digest[:19]}")

    def _send(
        self,
        method: str,
        url: str,
        credential: Credential | None,
        headers: Mapping[str, str] | None,
        body: bytes | Iterable[bytes] | None,
    ) -> Response:
        """Send a request; a redirect of a HEAD request is its answer and is not followed.

        Storage that a registry redirects to signs its URLs for GET only.
        """
        return self._http.open(
            url,
            method=method,
            headers=headers,
            credential=credential,
            body=body,
            follow=method != "HEAD",
        )

    def absolute(self, url: str, location: str) -> str:
        """Return the absolute URL of a Location or Link header.

        A registry behind a proxy that terminates TLS may name itself with http: https is used
        instead.

        Raises:
            NetworkError: the URL is invalid or unsafe.
        """
        try:
            target = urljoin(url, location)
            parts, here = urlsplit(target), urlsplit(url)
        except ValueError as error:
            raise NetworkError(f"{self.host} sends an invalid address") from error
        if here.scheme == "https" and parts.scheme == "http" and parts.hostname == here.hostname:
            port = f":{here.port}" if here.port else ""
            host = f"[{here.hostname}]" if ":" in (here.hostname or "") else here.hostname
            return parts._replace(scheme="https", netloc=f"{host}{port}").geturl()
        if parts.scheme not in {"http", "https"} or (here.scheme, parts.scheme) == (
            "https",
            "http",
        ):
            raise NetworkError(f"{self.host} sends an unsafe address")
        return target

    def refusal(self, response: Response, resource: str) -> HttpError:
        """Return the error for a status, with the registry's own error code."""
        code = error_code(response)
        named = f"{resource} ({code})" if code else resource
        error = http_error(response, named)
        if response.status in DENIED and origin_of(response.url) == self.origin:
            error.message = f"{self.host} refuses {named}: it is private or does not exist"
            error.hint = f"docker login {self.host}"
            error.args = (error.message,)
        return error


def origin_of_host(host: str, *, is_insecure: bool = False) -> str:
    """Return the origin of a registry's API.

    Raises:
        ModelNameError: ``host`` is not a host name.
    """
    if not HOST.fullmatch(host):
        raise ModelNameError(f"not a registry's host: {host!r}")
    if host.lower() in DOCKER_HOSTS:
        return f"https://{DOCKER_API}"
    is_loopback = urlsplit(f"//{host}").hostname in LOOPBACK_HOSTS
    return origin_of(f"{'http' if is_insecure or is_loopback else 'https'}://{host}")


def error_code(response: Response) -> str | None:
    """Return the code of a registry's error, such as MANIFEST_UNKNOWN, or None."""
    try:
        code = json.loads(response.body(MAX_ERROR_BYTES))["errors"][0]["code"]
    except (NetworkError, ValueError, TypeError, LookupError, RecursionError):
        return None
    return code if isinstance(code, str) and ERROR_CODE.fullmatch(code) else None


def pull_scope(repo: str) -> str:
    """Return the token scope for reading a repository."""
    return f"repository:{repo}:pull"


def push_scope(repo: str) -> str:
    """Return the token scope for writing a repository."""
    return f"repository:{repo}:pull,push"
