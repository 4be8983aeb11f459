"""API keys of a server, each with a name for the log.

A key file has one key per line, after a name or alone:

    # name     key
    laptop     3f9c...
    build-bot  77ab...

Keys are held as hashes. Every comparison reads all keys in constant time: the duration of a
refusal reveals nothing about any key.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import stat
from typing import TYPE_CHECKING

from localrun.access import is_sendable
from localrun.errors import StorageError, UsageError
from localrun.system.files import grants

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localrun.access import Access

_log = logging.getLogger(__name__)

FROM_ENVIRONMENT = "LOCALRUN_API_KEY"
BEARER = "bearer "
NAME_AND_KEY = 2
FORM = "a line holds a name and a key, such as: laptop 3f9c..."


class Keys:
    """API keys of one server; without keys, every request is accepted."""

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self._hashes = {name: _hash(key) for name, key in (keys or {}).items()}

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def name_of(self, key: str) -> str | None:
        """Return the name of a key, None if the key is wrong."""
        hashed, matching_name = _hash(key), None
        for name, known in self._hashes.items():
            if hmac.compare_digest(hashed, known):
                matching_name = name
        return matching_name

    def macs(self, message: str) -> dict[str, str]:
        """Return the MAC of a message under each key, by the keys' names."""
        return {
            name: hmac.new(known, message.encode(), hashlib.sha256).hexdigest()
            for name, known in self._hashes.items()
        }


def read_keys(access: Access) -> Keys:
    """Return the keys of the settings.

    Raises:
        StorageError: the file cannot be read.
        UsageError: a line is malformed, or the file has no key; the error contains no key.
    """
    keys = {FROM_ENVIRONMENT: access.api_key} if access.api_key is not None else {}
    return Keys(keys | (_keys_in(access.api_key_file) if access.api_key_file else {}))


def key_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the API key of a request, "" if the request has none."""
    authorization = headers.get(b"authorization", b"").decode("latin-1").strip()
    if authorization.lower().startswith(BEARER):
        return authorization[len(BEARER) :].strip()
    return headers.get(b"x-api-key", b"").decode("latin-1").strip()


def _keys_in(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        status = path.stat()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise StorageError(f"the keys in {path} cannot be read: {why}") from error
    if grants(status, stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("others on this machine can read the keys in %s: chmod 600 %s", path, path)
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        name = words[0] if len(words) == NAME_AND_KEY else f"line {number}"
        if len(words) > NAME_AND_KEY or not is_sendable(words[-1]) or name in keys:
            raise UsageError(
                f"line {number} of {path} is not a name and a key, or repeats a name", hint=FORM
            )
        keys[name] = words[-1]
    if not keys:
        raise UsageError(f"{path} contains no keys", hint=FORM)
    return keys


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
