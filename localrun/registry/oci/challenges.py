"""Authentication challenges of registries, and the token servers that may receive a password.

Owns the format of ``WWW-Authenticate`` and the rule that decides which token server may receive
the password of which registry. Knows no secret and opens no connection.

https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from localrun.names.ref import DOCKER_HOST, OLLAMA_HOST
from localrun.settings import LOOPBACK_HOSTS

TOKEN_HOSTS = {  # token servers on another site than their registry
    DOCKER_HOST: {"auth.docker.io"},
    OLLAMA_HOST: {"ollama.com", "www.ollama.com"},
    "ghcr.io": {"ghcr.io"},
    "registry.gitlab.com": {"gitlab.com"},
    "registry.redhat.io": {"sso.redhat.com", "registry.redhat.io"},
}
SHARED_SITES = {  # each name below belongs to another customer
    *("amazonaws.com", "aliyuncs.com", "azurecr.io", "azurewebsites.net", "cloudfront.net"),
    *("fly.dev", "github.io", "gitlab.io", "herokuapp.com", "ngrok.io", "run.app"),
}
SECOND_LEVELS = {"ac", "co", "com", "edu", "gov", "net", "or", "org"}  # co.uk, com.cn
PARAMETER = re.compile(
    r"(?<![\w-])(?:([A-Za-z][\w-]*+)\s++)?([A-Za-z][\w-]*+)\s*+=\s*+"
    r'(?:"((?:[^"\\]|\\.)*+)"|([^\s,"]++))',
    re.ASCII,
)
LONGEST_CHALLENGE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Parsed challenge of a registry."""

    scheme: str  # "bearer" or "basic"
    realm: str = ""
    service: str = ""
    scopes: tuple[str, ...] = ()


def parse_challenge(text: str) -> Challenge | None:
    """Parse a WWW-Authenticate header; prefer bearer to basic, None if it has neither."""
    schemes: dict[str, dict[str, str]] = {}
    scheme = ""
    for match in PARAMETER.finditer(text[:LONGEST_CHALLENGE]):
        scheme = (match[1] or scheme).lower()
        value = match[4] if match[3] is None else re.sub(r"\\(.)", r"\1", match[3])
        schemes.setdefault(scheme, {})[match[2].lower()] = value
    bearer = schemes.get("bearer", {})
    if bearer.get("realm"):
        return Challenge(
            scheme="bearer",
            realm=bearer["realm"],
            service=bearer.get("service", ""),
            scopes=tuple(bearer.get("scope", "").split()),
        )
    is_basic = "basic" in schemes or text.strip().lower() == "basic"
    return Challenge(scheme="basic") if is_basic else None


def is_private(url: str) -> bool:
    """Return whether nobody can read what is sent: https, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK_HOSTS


def may_have_password(host: str, realm: str) -> bool:
    """Return whether a realm may receive the password of a registry."""
    name = urlsplit(f"//{host}").hostname or ""
    other = urlsplit(realm).hostname or ""
    is_known = other == name or other in TOKEN_HOSTS.get(host, set())
    site = _site(name)
    return is_private(realm) and (is_known or (site is not None and site == _site(other)))


def _site(host: str) -> str | None:
    """Return the site of a host, "example.com" of "auth.example.com", or None if unknown."""
    labels = host.split(".")
    if len(labels) < 2 or labels[-1].isdigit() or ":" in host:  # noqa: PLR2004 - name and top
        return None
    is_deep = len(labels[-1]) == 2 and labels[-2] in SECOND_LEVELS  # noqa: PLR2004 - a country's
    count = 3 if is_deep else 2
    site = ".".join(labels[-count:])
    return None if len(labels) < count or site in SHARED_SITES else site
