"""Debian packages as small as their reader allows."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from container.rootfs import INTERPRETERS

from tests.fakes.elf_files import elf_file

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "usr/lib/x86_64-linux-gnu"
GLIBC = ("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1")


def deb(name: str, files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """Return a Debian package; what it says of itself is its name."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(f"./{path}")
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
        for path, target in (links or {}).items():
            info = tarfile.TarInfo(f"./{path}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    control = io.BytesIO()
    with tarfile.open(fileobj=control, mode="w:xz") as tar:
        text = f"Package: {name}\n".encode()
        info = tarfile.TarInfo("./control")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    members = (
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", control.getvalue()),
        ("data.tar.xz", data.getvalue()),
    )
    return b"!<arch>\n" + b"".join(_member(*member) for member in members)


def system_packages(**more: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return packages for the least of an image, and ``more`` by name with their files."""
    doc = "usr/share/doc/{}/copyright".format
    libc = {f"{FOLDER}/{name}": elf_file(soname=name) for name in GLIBC}
    libc |= {f"{FOLDER}/ld-linux-x86-64.so.2": elf_file(), doc("libc6"): b"LGPL"}
    zlib = {f"{FOLDER}/libz.so.1": elf_file(soname="libz.so.1"), doc("zlib1g"): b"Zlib"}
    gcc = {f"{FOLDER}/libgcc_s.so.1": elf_file(("libc.so.6",)), doc("gcc-14-base"): b"GPL"}
    base = {"etc/debian_version": b"13\n", "usr/lib/os-release": b"NAME=Debian\n"}
    base |= {"usr/share/common-licenses/GPL-3": b"...", doc("base-files"): b"GPL"}
    mozilla = "usr/share/ca-certificates/mozilla"
    certificates = {
        f"{mozilla}/B.crt": b"B\n",
        f"{mozilla}/A.crt": b"A",
        doc("ca-certificates"): b"MPL",
    }
    loader = {INTERPRETERS["amd64"]: "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"}
    return {
        "libc6": deb("libc6", libc, loader),
        "libgcc-s1": deb("libgcc-s1", gcc, {"usr/share/doc/libgcc-s1": "gcc-14-base"}),
        "zlib1g": deb("zlib1g", zlib),
        "base-files": deb("base-files", base, {"etc/os-release": "../usr/lib/os-release"}),
        "ca-certificates": deb("ca-certificates", certificates),
        **{name: deb(name, {doc(name): b"", **files}) for name, files in more.items()},
    }


def _member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return header + content + b"\n" * (len(content) % 2)
