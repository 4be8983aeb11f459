"""Logins that Docker and podman store: the user's account at a registry.

Owns the format of their credential files and the protocol of credential helpers. No message, log
line or repr holds a secret. The first account found wins, in this order:

    $REGISTRY_AUTH_FILE
    $DOCKER_CONFIG/config.json, or ~/.docker/config.json
    $XDG_RUNTIME_DIR/containers/auth.json
    ~/.config/containers/auth.json

    {"auths": {"ghcr.io": {"auth": "<base64 of user:password>"},
               "https://index.docker.io/v1/": {"identitytoken": "..."}},
     "credHelpers": {"gcr.io": "gcloud"},          # runs docker-credential-gcloud get
     "credsStore": "desktop"}

https://docs.docker.com/reference/cli/docker/login/
https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
"""

from __future__ import annotations

import base64
import json
import logging
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DOCKER_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
DOCKER_KEY = "https://index.docker.io/v1/"  # Docker Hub in every file and helper
HELPER_TIMEOUT_S = 10.0
HELPER_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
IS_IDENTITY_TOKEN = "<token>"  # noqa: S105 - a user name by which helpers mark tokens
MAX_BYTES = 4 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """User of a registry, with a password or with an identity token."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)

    @property
    def basic(self) -> str:
        """Return the Authorization header of user name and password (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


def find_account(host: str, environ: Mapping[str, str], home: Path) -> Account | None:
    """Return the user's account at a registry, or None; may run a credential helper."""
    for path in _files(environ, home):
        config = _read(path)
        account = _from_helper(host, config, environ) or _from_auths(host, config)
        if account is not None:
            _log.debug("%s: the account of %s", host, path)
            return account
    return None


def _files(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield home / ".config" / "containers" / "auth.json"


def _read(path: Path) -> dict[str, object]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("too large")  # noqa: TRY301 - one handler for every damage
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("ignored %s: %s", path, type(error).__name__)
        return {}
    return value if isinstance(value, dict) else {}


def _from_auths(host: str, config: dict[str, object]) -> Account | None:
    """Return the account that the file holds for a host."""
    for key, entry in _table(config, "auths").items():
        if isinstance(entry, dict) and _is_key_of(key, host):
            account = _account(entry)
            if account is not None:
                return account
    return None


def _account(entry: dict[str, object]) -> Account | None:
    username, password = _text(entry, "username"), _text(entry, "password")
    if auth := _text(entry, "auth"):
        try:
            username, _, password = base64.b64decode(auth).decode().partition(":")
        except ValueError:
            return None
    password = password.rstrip("\0")
    identity_token = _text(entry, "identitytoken") or None
    if identity_token is None and not (username and password):
        return None
    return Account(username=username, password=password, identity_token=identity_token)


def _from_helper(
    host: str, config: dict[str, object], environ: Mapping[str, str]
) -> Account | None:
    """Return the account of the host's credential helper, or None if it has none."""
    helpers = _table(config, "credHelpers")
    named = next((name for key, name in helpers.items() if _is_key_of(key, host)), None)
    name = named or config.get("credsStore")
    if not isinstance(name, str) or not HELPER_NAME.fullmatch(name):
        return None
    program = shutil.which(f"docker-credential-{name}", path=environ.get("PATH"))
    if program is None:
        _log.debug("docker-credential-%s is not installed", name)
        return None
    return _ask_helper(program, DOCKER_KEY if host in DOCKER_HOSTS else host, environ)


def _ask_helper(program: str, key: str, environ: Mapping[str, str]) -> Account | None:
    """Run the helper's ``get`` (https://github.com/docker/docker-credential-helpers)."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own helper, by its full path
            [program, "get"],
            input=key.encode(),
            capture_output=True,
            check=True,
            timeout=HELPER_TIMEOUT_S,
            env=dict(environ),
        )
        entry = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError, RecursionError) as error:
        _log.debug("%s has no account of %s: %s", program, key, type(error).__name__)
        return None
    if not isinstance(entry, dict):
        return None
    username, secret = _text(entry, "Username"), _text(entry, "Secret")
    if username == IS_IDENTITY_TOKEN and secret:
        return Account(identity_token=secret)
    return Account(username=username, password=secret) if username and secret else None


def _is_key_of(key: str, host: str) -> bool:
    """Return whether a file's key names a registry; a key with a namespace names only a part."""
    bare = key.rpartition("://")[2].lower()
    name, _, path = bare.partition("/")
    if path.strip("/") not in {"", "v1", "v2"}:
        return False
    return name == host.lower() or {name, host.lower()} <= DOCKER_HOSTS


def _table(config: dict[str, object], name: str) -> dict[str, object]:
    value = config.get(name)
    return value if isinstance(value, dict) else {}


def _text(entry: dict[str, object], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""
