"""Endpoint of a model hub, and the token for it, as environment variables set them.

Shared by both hubs and knows neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localrun.errors import ModelNameError, NetworkError, UsageError
from localrun.registry.origins import Credential, host_of, origin_of
from localrun.registry.remote import FileSource, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Mapping

SHA256 = re.compile(r"[0-9a-f]{64}")
REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubEndpoint:
    """Address of a hub."""

    url: str  # without a trailing slash
    host: str  # in messages: "hf.co", or a mirror's host
    is_own: bool  # the hub itself and not a mirror

    def unexpected_response(self) -> NetworkError:
        """Return the error for a response that no hub sends: a login page or a wrong mirror."""
        return NetworkError(
            f"{self.host} does not answer like a model hub",
            hint="check whether the network needs a login, and the mirror's address if one is set",
        )

    def credential(self, headers: Mapping[str, str]) -> Credential:
        """Return headers that are sent to this endpoint only."""
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
        """Return the endpoint's file at ``path``; a malformed sha256 is ignored."""
        source = FileSource(url=f"{self.url}{path}", name=self.host, credential=credential)
        is_promised = sha256 is not None and SHA256.fullmatch(sha256.lower())
        digest = f"sha256:{sha256.lower()}" if sha256 and is_promised else None
        return RemoteFile(name=name, size_bytes=size, digest=digest, sources=(source,))


def hub_endpoint(
    environ: Mapping[str, str], variable: str, *, host: str, own: tuple[str, ...]
) -> HubEndpoint:
    """Return the endpoint that a variable names, else the hub's own (the first of ``own``).

    Raises:
        UsageError: the variable is not an address.
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
    """Return a token without surrounding whitespace, or None if it is empty.

    Raises:
        UsageError: the token has characters that no header can have; the message omits it.
    """
    token = (text or "").strip()
    if token and not TOKEN.fullmatch(token):
        raise UsageError(f"{variable} has characters that a token cannot have", param=variable)
    return token or None


def check_repo_name(repo: str) -> None:
    """Check that a name is ``owner/repo`` and safe in a URL.

    Raises:
        ModelNameError: the name is malformed.
    """
    if not REPO.fullmatch(repo):
        raise ModelNameError(f"not a repository name: {repo[:200]!r}")
