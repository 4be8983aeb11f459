"""ELF files and Debian packages as small as their readers allow."""

from __future__ import annotations

import io
import struct
import tarfile
from typing import TYPE_CHECKING

from container.rootfs import INTERPRETERS

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = 0x1000  # where the file is mapped: addresses are not offsets
FOLDER = "usr/lib/x86_64-linux-gnu"
GLIBC = ("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1")


def elf(
    needed: tuple[str, ...] = (), *, soname: str = "", interpreter: str = "", machine: int = 62
) -> bytes:
    """Return an ELF file with these names in its headers."""
    strings = b"\0"
    offsets = {}
    for name in (*needed, soname, interpreter):
        offsets[name] = len(strings)
        strings += name.encode() + b"\0"
    segments = 3
    dynamic_at = 64 + segments * 56
    tags = [(1, offsets[name]) for name in needed]
    tags += [(14, offsets[soname])] if soname else []
    tags.append((5, BASE + dynamic_at + (len(tags) + 2) * 16))
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in (*tags, (0, 0)))
    strings_at = dynamic_at + len(dynamic)
    size = strings_at + len(strings)
    kind = 3 if interpreter else 4
    headers = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 4096)
    headers += struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, BASE, BASE, len(dynamic), 0, 8)
    at = strings_at + offsets[interpreter]
    headers += struct.pack("<IIQQQQQQ", kind, 4, at, BASE, BASE, len(interpreter), 0, 1)
    start = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(3, machine, 1, 0, 64, 0, 0, 64, 56, segments, 0, 0, 0),
    )
    return start + headers + dynamic + strings


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
    libc = {f"{FOLDER}/{name}": elf(soname=name) for name in GLIBC}
    libc |= {f"{FOLDER}/ld-linux-x86-64.so.2": elf(), doc("libc6"): b"LGPL"}
    zlib = {f"{FOLDER}/libz.so.1": elf(soname="libz.so.1"), doc("zlib1g"): b"Zlib"}
    gcc = {f"{FOLDER}/libgcc_s.so.1": elf(("libc.so.6",)), doc("gcc-14-base"): b"GPL"}
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
