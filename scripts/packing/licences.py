"""Licences of what the binary carries.

    licenses/packages.json    [{"name": ..., "version": ..., "license": ..., "sha256": ...}, ...]
    licenses/<name>/...       the texts

``sha256`` is the digest of the sources for what was compiled here, "" for a wheel: the lock file
scripts/locks/run.txt has the digests of all wheels.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from email.parser import HeaderParser
from pathlib import Path

import environment

from packing import sources

TEXTS = ("licen[cs]e*", "LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*")
# libraries of Debian 11 in the tree, by the beginning of their file names
DEBIAN = {
    "libgcc_s": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libstdc++": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libbsd": "BSD-3-Clause",
    "libbz2": "bzip2-1.0.6",
    "libedit": "BSD-3-Clause",
    "libffi": "MIT",
    "liblzma": "0BSD",
    "libmd": "BSD-3-Clause",
    "libsqlite3": "blessing",
    "libtinfo": "X11",
    "libuuid": "BSD-3-Clause",
    "libz": "Zlib",
}


def write_licences(folder: Path, packages: Path, library: Path) -> None:
    """Write the list and the texts of all packages of a tree."""
    folder.mkdir()
    compiled = (sources.PYTHON, sources.PYTHON_FIXES, sources.OPENSSL, sources.ZSTD)
    rows = [_row(each.software, each.version, each.licence, each.sha256) for each in compiled]
    names = {path.name.partition(".")[0] for path in library.parent.rglob("*.so.*")}
    rows += [_row(name, "Debian 11", DEBIAN[name], "") for name in sorted(names & DEBIAN.keys())]
    rows.append(_row("musl", "1.2", "MIT", ""))
    for info in sorted(packages.glob("*.dist-info")):
        rows.append(_package(info))
        _copy_texts(info, folder / str(rows[-1]["name"]))
    shutil.copy(environment.ROOT / "LICENSE", folder)
    (folder / "packages.json").write_text(json.dumps(rows, indent=1) + "\n")
    for source in (sources.PYTHON, sources.OPENSSL, sources.ZSTD):
        _copy_text_of_source(source, folder / source.software)


def _row(name: str, version: str, licence: str, sha256: str) -> dict[str, str]:
    return {"name": name, "version": version, "license": licence, "sha256": sha256}


def _package(info: Path) -> dict[str, str]:
    with (info / "METADATA").open(encoding="utf-8") as file:
        head = HeaderParser().parse(file)
    licence = head["License-Expression"] or (head["License"] or "").partition("\n")[0]
    classifiers = [each for each in head.get_all("Classifier", []) if each.startswith("License")]
    if not licence and classifiers:
        licence = classifiers[-1].rpartition(":: ")[2]
    return _row(head["Name"], head["Version"], licence, "")


def _copy_texts(info: Path, target: Path) -> None:
    texts = {path for text in TEXTS for path in info.rglob(text) if path.is_file()}
    for path in sorted(texts):
        target.mkdir(exist_ok=True)
        shutil.copy(path, target / path.name)


def _copy_text_of_source(source: sources.Source, target: Path) -> None:
    target.mkdir()
    with tarfile.open(sources.provide(source)) as archive:
        for member in archive:
            name = Path(member.name)
            if len(name.parts) == 2 and name.name.upper().startswith(("LICENSE", "COPYING")):
                content = archive.extractfile(member)
                if content is not None:
                    (target / name.name).write_bytes(content.read())
