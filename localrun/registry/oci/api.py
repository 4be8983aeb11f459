"""Requests to one registry: its address, the login when it asks, its errors in words.

Knows nothing of models. Every URL that a registry gives is made absolute here, and one
that leaves https for http is not followed.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from localrun.errors import ModelNameError, NetworkError
from localrun.registry.http import REDIRECTS, http_error, origin_of
from localrun.registry.oci.accounts import DOCKER_HOSTS, find_account
from localrun.registry.oci.auth import RegistryAuth
from localrun.settings import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from localrun.registry.http import Credential, Http, HttpError, Response

DOCKER_API = "registry-1.docker.io"
HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII)
PART = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
ERROR_CODE = re.compile(r"[A-Z][A-Z_]{1,40}")
MOST_ERROR_BYTES = 1 << 16
OK, UNAUTHORIZED, NOT_FOUND = 200, 401, 404
DENIED = {401, 403}


class RegistryApi:
    """The API of one registry. For many threads."""

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
        """Return the URL of a thing of a repository.

        Raises:
            ModelNameError: not a repository's name.
        """
        if not all(PART.fullmatch(part) for part in repo.split("/")):
            raise ModelNameError(f"not a name of a repository: {repo!r}")
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
        """Send a request, once more with a login if the registry asks; return any other status.

        The body must give its bytes again when it is iterated again.

        Raises:
            NetworkError: no answer, or no token.
        """
        credential = self.auth.current(scopes)
        response = self._send(method, url, credential, headers, body)
        if response.status != UNAUTHORIZED or origin_of(response.url) != self.origin:
            return response  # storage elsewhere does not say how to log in here
        better = self.auth.answer(response.header("WWW-Authenticate"), scopes, credential)
        if better is None:
            return response
        response.close()
        return self._send(method, url, better, headers, body)

    def has_blob(self, repo: str, digest: str, scopes: tuple[str, ...]) -> bool:
        """Return whether a repository has a blob.

        Raises:
            NetworkError: the registry does not say.
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
        """Send; where only existence is asked, a redirect is the answer.

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
        """Return where a Location or Link leads.

        A registry behind a proxy that ends TLS may name itself by http: then https is meant.

        Raises:
            NetworkError: to an address that is not safe.
        """
        try:
            following = urljoin(url, location)
            parts, here = urlsplit(following), urlsplit(url)
        except ValueError as error:
            raise NetworkError(f"{self.host} names an address that is none") from error
        if here.scheme == "https" and parts.scheme == "http" and parts.hostname == here.hostname:
            port = f":{here.port}" if here.port else ""
            host = f"[{here.hostname}]" if ":" in (here.hostname or "") else here.hostname
            return parts._replace(scheme="https", netloc=f"{host}{port}").geturl()
        if parts.scheme not in {"http", "https"} or (here.scheme, parts.scheme) == (
            "https",
            "http",
        ):
            raise NetworkError(f"{self.host} names an address that is not safe")
        return following

    def refusal(self, response: Response, what: str) -> HttpError:
        """Return the error of a status that does not help, with the registry's own code."""
        code = error_code(response)
        named = f"{what} ({code})" if code else what
        error = http_error(response, named)
        if response.status in DENIED and origin_of(response.url) == self.origin:
            error.message = f"{self.host} refuses {named}: it is private, or is not there"
            error.hint = f"docker login {self.host}"
            error.args = (error.message,)
        return error


def origin_of_host(host: str, *, is_insecure: bool = False) -> str:
    """Return the origin of a registry's API.

    Raises:
        ModelNameError: not a host.
    """
    if not HOST.fullmatch(host):
        raise ModelNameError(f"not a registry's host: {host!r}")
    if host.lower() in DOCKER_HOSTS:
        return f"https://{DOCKER_API}"
    is_loopback = urlsplit(f"//{host}").hostname in LOOPBACK_HOSTS
    return origin_of(f"{'http' if is_insecure or is_loopback else 'https'}://{host}")


def error_code(response: Response) -> str | None:
    """Return the code of a registry's error, such as MANIFEST_UNKNOWN, None where there is none."""
    try:
        code = json.loads(response.body(MOST_ERROR_BYTES))["errors"][0]["code"]
    except (NetworkError, ValueError, TypeError, LookupError, RecursionError):
        return None
    return code if isinstance(code, str) and ERROR_CODE.fullmatch(code) else None


def pull_scope(repo: str) -> str:
    """Return the scope of reading a repository."""
    return f"repository:{repo}:pull"


def push_scope(repo: str) -> str:
    """Return the scope of writing a repository."""
    return f"repository:{repo}:pull,push"
