"""Debian packages in the image, by the digests of a lock file; read without dpkg.

    scripts/locks/image/trixie.json      {"snapshot": "20261122T230000Z", "packages": {"amd64":
                                         {"libc6": {"version", "filename", "sha256", "size"}}}}
    <cache>/localrun/debian/<sha256>.deb

`scripts/lock --image` writes the lock file from the index of a Debian mirror. A mirror keeps only
the newest version of a package; snapshot.debian.org keeps those of the time in the lock file.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import lzma
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUITE = "trixie"
LOCK = environment.LOCKS / "image" / f"{SUITE}.json"
MIRROR = "https://deb.debian.org/debian"
SNAPSHOT = "https://snapshot.debian.org/archive/debian"
ARCHITECTURES = ("amd64", "arm64")
TIMEOUT_S = 120
AR_MAGIC, AR_HEADER = b"!<arch>\n", 60

# what every image has, and what drivers of Vulkan need besides
BASE = (
    *("base-files", "ca-certificates", "gcc-14-base", "libc6", "libgcc-s1", "libstdc++6"),
    "zlib1g",
)
VULKAN = tuple(
    """
    libvulkan1 mesa-vulkan-drivers libdrm2 libdrm-amdgpu1 libelf1t64 libexpat1 libllvm19 libzstd1
    libwayland-client0 libx11-xcb1 libxcb-dri3-0 libxcb-present0 libxcb-randr0 libxcb-shm0
    libxcb-sync1 libxcb-xfixes0 libxcb1 libxcb-keysyms1 libxshmfence1 libedit2 libffi8 libxml2
    libz3-4 libbsd0 libxau6 libxdmcp6 libmd0 libtinfo6 liblzma5 libx11-6 libxext6 libudev1 libcap2
    libdisplay-info2
    """.split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of the lock file."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    snapshot: str  # a time at which snapshot.debian.org has it


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file or a link of a package; its path is relative to the root."""

    path: str
    content: bytes
    link: str | None
    mode: int


def locked_packages(architecture: str, names: tuple[str, ...], lock: Path = LOCK) -> list[Package]:
    """Return packages of the lock file, in the order of the names.

    Raises:
        SetupError: the lock file lacks a package.
    """
    content = json.loads(lock.read_text())
    locked = content["packages"].get(architecture, {})
    missing = [name for name in names if name not in locked]
    if missing:
        raise environment.SetupError(
            f"{lock.name} has no {', '.join(missing)} for {architecture}\n"
            "hint: scripts/lock --image   updates it"
        )
    return [Package(name=name, snapshot=content["snapshot"], **locked[name]) for name in names]


def fetch(package: Package) -> bytes:
    """Return a package, downloaded the first time.

    Raises:
        SetupError: it cannot be downloaded, or its digest differs.
    """
    file = environment.cache_folder() / "debian" / f"{package.sha256}.deb"
    if not file.is_file():
        data = _download(package)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_bytes(data)
        partial.replace(file)
    return file.read_bytes()


def read_files(deb: bytes) -> Iterator[PackageFile]:
    """Yield the files and links of a package."""
    with _archive(deb, "data") as tar:
        for member in tar:
            path = member.name.removeprefix("./").strip("/")
            if member.issym():
                yield PackageFile(path, b"", member.linkname, 0o777)
            elif member.isfile() and (file := tar.extractfile(member)):
                yield PackageFile(path, file.read(), None, member.mode & 0o777)


def read_control(deb: bytes) -> str:
    """Return the package's own description, as scanners of images read it."""
    with _archive(deb, "control") as tar:
        file = tar.extractfile("./control")
        return file.read().decode() if file else ""


def write_lock(mirror: str = MIRROR, lock: Path = LOCK) -> None:
    """Write the lock file from the mirror's index of packages."""
    packages: dict[str, dict[str, dict[str, object]]] = {}
    for architecture in ARCHITECTURES:
        url = f"{mirror}/dists/{SUITE}/main/binary-{architecture}/Packages.xz"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            index = lzma.decompress(answer.read()).decode()
        stanzas = (_fields(stanza) for stanza in index.split("\n\n"))
        packages[architecture] = {
            fields["Package"]: {
                "version": fields["Version"],
                "filename": fields["Filename"],
                "sha256": fields["SHA256"],
                "size": int(fields["Size"]),
            }
            for fields in stanzas
            if fields.get("Package") in {*BASE, *VULKAN}
        }
    lock.parent.mkdir(parents=True, exist_ok=True)
    snapshot = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H0000Z")
    text = json.dumps({"snapshot": snapshot, "packages": packages}, indent=1, sort_keys=True)
    lock.write_text(f"{text}\n")


def _fields(stanza: str) -> dict[str, str]:
    lines = (line.partition(": ") for line in stanza.splitlines() if not line.startswith(" "))
    return {name: value for name, _, value in lines}


def _download(package: Package) -> bytes:
    reasons = []
    for base in (MIRROR, f"{SNAPSHOT}/{package.snapshot}"):
        url = f"{base}/{package.filename}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                data: bytes = answer.read()
        except (urllib.error.URLError, TimeoutError) as error:
            reasons.append(f"{url}: {error}")
            continue
        if hashlib.sha256(data).hexdigest() == package.sha256:
            return data
        reasons.append(f"{url}: its digest is not the one of the lock file")
    raise environment.SetupError(
        "\n".join(reasons) + "\nhint: scripts/lock --image   locks the versions of today"
    )


def _archive(deb: bytes, kind: str) -> tarfile.TarFile:
    """Return the archive ``data`` or ``control`` of a package, which is an `ar` archive of both."""
    if not deb.startswith(AR_MAGIC):
        raise environment.SetupError("a Debian package is not an ar archive")
    at = len(AR_MAGIC)
    while at + AR_HEADER <= len(deb):
        name = deb[at : at + 16].decode().strip().rstrip("/")
        size = int(deb[at + 48 : at + 58])
        start = at + AR_HEADER
        if name.startswith(f"{kind}.tar"):
            return tarfile.open(fileobj=io.BytesIO(deb[start : start + size]))
        at = start + size + size % 2
    raise environment.SetupError(f"a Debian package has no {kind}.tar")
