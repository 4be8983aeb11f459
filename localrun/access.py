"""Access to a server: API keys, TLS and web origins, read from the environment.

Server and client read the same variables, so that one environment fits both:

    LOCALRUN_API_KEY        the key that a server requires and a client sends
    LOCALRUN_API_KEY_FILE   more keys that a server accepts, see server/middleware/keys.py
    LOCALRUN_TLS_CERT       certificate of a server; a client trusts it besides the system's
    LOCALRUN_TLS_KEY        its private key, unless it is in the same file
    LOCALRUN_ORIGINS        web pages that may use a server: https://chat.example, or * for all
    LOCALRUN_LOG_PROMPTS    1: the server logs prompts and answers
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY_ORIGIN = "*"
EXTENSIONS = "extensions"  # browser extensions
YES = {"1", "true", "yes", "on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Access settings; the repr omits the key."""

    api_key: str | None = field(default=None, repr=False)
    api_key_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    origins: tuple[str, ...] = ()
    logs_prompts: bool = False

    @property
    def has_key(self) -> bool:
        """Return whether a server requires a key."""
        return self.api_key is not None or self.api_key_file is not None


def load_access(environ: Mapping[str, str]) -> Access:
    """Read the access settings from the environment.

    Raises:
        UsageError: a variable is malformed; the error names it, and never holds a key.
    """
    return Access(
        api_key=_key(environ),
        api_key_file=_path(environ, "LOCALRUN_API_KEY_FILE"),
        tls_cert=_path(environ, "LOCALRUN_TLS_CERT"),
        tls_key=_path(environ, "LOCALRUN_TLS_KEY"),
        origins=_origins(environ),
        logs_prompts=environ.get("LOCALRUN_LOG_PROMPTS", "").strip().lower() in YES,
    )


def is_sendable(key: str) -> bool:
    """Return whether a key can be sent in a header."""
    return key.isascii() and key.isprintable() and " " not in key and bool(key)


def expanded_path(name: str, text: str) -> Path:
    """Return the absolute path of a variable.

    Raises:
        UsageError: its home folder is unknown.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(
            f"{name}: the home folder of {text} is unknown", hint=f"{name}=/absolute/path"
        ) from error


def _key(environ: Mapping[str, str]) -> str | None:
    key = environ.get("LOCALRUN_API_KEY", "").strip()
    if key and not is_sendable(key):
        raise UsageError(
            "LOCALRUN_API_KEY may contain only printable ASCII characters without spaces",
            hint="export LOCALRUN_API_KEY=$(openssl rand -hex 32)",
        )
    return key or None


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name, "").strip()
    return expanded_path(name, text) if text else None


def _origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    origins = environ.get("LOCALRUN_ORIGINS", "").replace(",", " ").split()
    for origin in origins:
        if origin.lower() not in {ANY_ORIGIN, EXTENSIONS} and not _is_origin(origin):
            raise UsageError(
                f"LOCALRUN_ORIGINS: not a web origin: {origin}",
                hint="LOCALRUN_ORIGINS=https://chat.example,https://*.example:8443,extensions",
            )
    return tuple(origin.rstrip("/").lower() for origin in origins)


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text.replace(ANY_ORIGIN, "x"))  # a scheme may not contain it
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc) and parts.path in {"", "/"}
