"""The address of a hub as a variable of the environment gives it, and its token.

Knows neither hub: what both have in common, such as that a token belongs to one origin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localrun.errors import ModelNameError, NetworkError, UsageError
from localrun.registry.http import Credential, host_of, origin_of
from localrun.registry.remote import FileSource, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Mapping

SHA256 = re.compile(r"[0-9a-f]{64}")
REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubEndpoint:
    """Where a hub is."""

    url: str  # without a slash at the end
    host: str  # for people: "hf.co", or a mirror's host
    is_own: bool  # the hub itself and not a mirror

    def unexpected_response(self) -> NetworkError:
        """Return the error of an answer that is not the hub's: a portal's page, a wrong mirror."""
        return NetworkError(
            f"{self.host} does not answer as a hub does",
            hint="check that the network needs no login, and the address if a mirror's is set",
        )

    def credential(self, headers: Mapping[str, str]) -> Credential:
        """Return headers that go to this endpoint only."""
        return Credential(origin=origin_of(self.url), headers=headers)

    def file(
        self,
        name: str,
        path: str,
        *,
        size: int | None,
        sha256: str | None,
        credential: Credential | None,
    ) -> RemoteFile:
        """Return a file that the endpoint has at ``path``; what is no sha256 promises nothing."""
        remote = FileSource(url=f"{self.url}{path}", name=self.host, credential=credential)
        is_promised = sha256 is not None and SHA256.fullmatch(sha256.lower())
        digest = f"sha256:{sha256.lower()}" if sha256 and is_promised else None
        return RemoteFile(name=name, size_bytes=size, digest=digest, sources=(remote,))


def hub_endpoint(
    environ: Mapping[str, str], variable: str, *, host: str, own: tuple[str, ...]
) -> HubEndpoint:
    """Return the endpoint that a variable names, else the hub's own, the first of ``own``.

    Raises:
        UsageError: the variable holds no address.
    """
    text = environ.get(variable, "").strip() or own[0]
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or re.search(r"[\s?#\\]", url):
        raise UsageError(f"{variable} is not the address of a hub: {text[:200]!r}", param=variable)
    url = url.rstrip("/")
    is_own = origin_of(url) in own
    return HubEndpoint(url=url, host=host if is_own else host_of(url), is_own=is_own)


def clean_token(text: str | None, variable: str) -> str | None:
    """Return a token without the space around it, None for none.

    Raises:
        UsageError: it has characters that no header can have; the message is without it.
    """
    token = (text or "").strip()
    if token and not TOKEN.fullmatch(token):
        raise UsageError(f"{variable} has characters that no token has", param=variable)
    return token or None


def check_repo_name(repo: str) -> None:
    """Return if it is ``owner/repo``, safe in a URL.

    Raises:
        ModelNameError: it is not.
    """
    if not REPO.fullmatch(repo):
        raise ModelNameError(f"not the name of a repository: {repo[:200]!r}")
