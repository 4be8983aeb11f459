"""Wheel files: the name's parts, whether a wheel fits this machine, and writing a wheel.

A wheel is written with fixed times and in a fixed order, so that the same content has the same
bytes. Names follow the binary distribution format (PEP 427), tags of platforms PEP 600.
"""

from __future__ import annotations

import base64
import hashlib
import platform
import re
import stat
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = re.compile(
    r"(?P<package>[^-]+)-(?P<version>[^-]+)(-\d[^-]*)?"
    r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl"
)
GLIBC_TAGS = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_(.+)")
EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip file can store
LIBRARY_MODE, FILE_MODE = stat.S_IFREG | 0o755, stat.S_IFREG | 0o644


@dataclass(frozen=True)
class WheelName:
    """The parts of a wheel's file name."""

    package: str
    version: str  # without the local part, such as "+cu124"
    pythons: frozenset[str]
    platforms: frozenset[str]


@dataclass(frozen=True)
class Host:
    """What decides whether a wheel fits: system, processor, C library, Python."""

    platform: str  # such as "linux_x86_64", "macosx_14_0_arm64", "win_amd64"
    glibc: tuple[int, int] | None
    python: tuple[int, int] = (3, 11)

    @classmethod
    def of_this_process(cls) -> Host:
        name, version = platform.libc_ver()
        words = version.split(".")[:2] if name == "glibc" else []
        glibc = (int(words[0]), int(words[1])) if len(words) == 2 else None
        tag = re.sub(r"[-.]", "_", sysconfig.get_platform())
        return cls(tag, glibc, sys.version_info[:2])


def parse_name(name: str) -> WheelName | None:
    """Return the parts of a wheel's file name, or None for another file."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    package = re.sub(r"[-_.]+", "-", match["package"]).lower()
    parts = (frozenset(match[part].split(".")) for part in ("python", "platform"))
    return WheelName(package, match["version"].partition("+")[0], *parts)


def misfit(name: WheelName, host: Host) -> str | None:
    """Return why a wheel does not fit the machine, or None if it fits."""
    major, minor = host.python
    if not name.pythons & {"py3", f"py{major}{minor}", f"cp{major}{minor}"}:
        return f"it is for {'.'.join(sorted(name.pythons))}, and this is Python {major}.{minor}"
    if any(_fits(tag, host) for tag in name.platforms):
        return None
    return f"it is for {'.'.join(sorted(name.platforms))}, and this is {_described(host)}"


def _fits(tag: str, host: Host) -> bool:
    if tag in {"any", host.platform}:
        return True
    system, _, processor = host.platform.partition("_")
    if system == "linux" and host.glibc:
        return _fits_glibc(tag, processor, host.glibc)
    if system == "macosx" and tag.startswith("macosx_"):
        ours, theirs = host.platform.split("_", 3), tag.split("_", 3)
        same = theirs[3] in {ours[3], "universal2"}
        return same and [int(n) for n in theirs[1:3]] <= [int(n) for n in ours[1:3]]
    return False


def _fits_glibc(tag: str, processor: str, glibc: tuple[int, int]) -> bool:
    match = MANYLINUX.fullmatch(tag)
    if match:
        return match[3] == processor and (int(match[1]), int(match[2])) <= glibc
    series, _, theirs = tag.partition("_")
    return theirs == processor and series in GLIBC_TAGS and GLIBC_TAGS[series] <= glibc


def _described(host: Host) -> str:
    return host.platform + (f" with glibc {host.glibc[0]}.{host.glibc[1]}" if host.glibc else "")


def write_wheel(target: Path, files: Mapping[str, bytes], *, metadata: bytes, tag: str) -> None:
    """Write a wheel of the files; ``target`` has its whole name.

    The folder with the metadata is named after the target, as the format demands.
    """
    package, version = target.name.split("-")[:2]
    info = f"{package}-{version}.dist-info"
    description = f"Wheel-Version: 1.0\nGenerator: localrun\nRoot-Is-Purelib: false\nTag: {tag}\n"
    content = dict(sorted(files.items()))
    content |= {f"{info}/METADATA": metadata, f"{info}/WHEEL": description.encode()}
    record = "".join(f"{name},{_digest(data)},{len(data)}\n" for name, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    partial = target.with_name(f"{target.name}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (LIBRARY_MODE if ".so" in name else FILE_MODE) << 16
            archive.writestr(entry, data, compresslevel=9)
    partial.replace(target)


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"
