"""Sources of what is compiled into the binary: Debian's archives of them, known by their digests.

    <cache>/localrun/sources/<name>

Python and OpenSSL are those of Debian 13 with its fixes of vulnerabilities. To update one, change
its name, path and digest here; the digest is in Debian's signed list of sources.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from pathlib import Path

MIRRORS = (
    "https://deb.debian.org/debian",
    "https://security.debian.org/debian-security",
    "https://snapshot.debian.org/archive/debian/20261101T000000Z",
)
TIMEOUT_S = 60


@dataclass(frozen=True)
class Source:
    """An archive: the paths that mirrors may have it at, and what the software is."""

    software: str
    version: str
    licence: str
    paths: tuple[str, ...]
    sha256: str

    @property
    def name(self) -> str:
        return self.paths[0].rpartition("/")[2]


PYTHON = Source(
    "Python",
    "3.13.5",
    "PSF-2.0",
    ("pool/main/p/python3.13/python3.13_3.13.5.orig.tar.xz",),
    "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640",
)
PYTHON_FIXES = Source(
    "Debian's fixes for Python",
    "3.13.5-2+deb13u5",
    "PSF-2.0",
    ("pool/main/p/python3.13/python3.13_3.13.5-2+deb13u5.debian.tar.xz",),
    "a51f456e654ce2c9b40cc1db8005e5041cdb0b2c3aa96ab0871c49fe95280366",
)
OPENSSL = Source(
    "OpenSSL",
    "3.5.7",
    "Apache-2.0",
    (
        "pool/main/o/openssl/openssl_3.5.7.orig.tar.gz",
        "pool/updates/main/o/openssl/openssl_3.5.7.orig.tar.gz",
    ),
    "a8c0d28a529ca480f9f36cf5792e2cd21984552a3c8e4aa11a24aa31aeac98e8",
)
ZSTD = Source(
    "Zstandard",
    "1.5.7",
    "BSD-3-Clause",
    ("pool/main/libz/libzstd/libzstd_1.5.7+dfsg.orig.tar.xz",),
    "0c092ef267edce57ba7f3f2645c861f72eaf5e76273c6c3632869423464b90a5",
)


def provide(source: Source) -> Path:
    """Return the archive, downloaded the first time.

    Raises:
        SetupError: no mirror has it, or all have other bytes.
    """
    file = environment.cache_folder() / "sources" / source.name
    if file.is_file() and _digest(file.read_bytes()) == source.sha256:
        return file
    environment.say(f"downloading {source.name} ...")
    file.parent.mkdir(exist_ok=True)
    reason = ""
    for url in (f"{mirror}/{path}" for mirror in MIRRORS for path in source.paths):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                data = response.read()
        except OSError as error:
            reason = reason or f"{url}: {error}"
            continue
        if _digest(data) == source.sha256:
            partial = file.with_name(f"{file.name}.{os.getpid()}")
            partial.write_bytes(data)
            return partial.replace(file)
        reason = f"{url} has other bytes than expected"
    raise environment.SetupError(f"{source.name} cannot be downloaded: {reason}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
