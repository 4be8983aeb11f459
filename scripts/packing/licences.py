"""Licences of what the binary carries.

    licenses/packages.json    [{"name": ..., "version": ..., "license": ..., "sha256": ...}, ...]
    licenses/<name>/...       the texts

``sha256`` is the digest of the sources for what was compiled here, "" for a wheel: the lock file
scripts/locks/run.txt has the digests of all wheels. The version of a library in a wheel is the
wheel's, such as "pillow 13.0.0".
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import TYPE_CHECKING

import environment

from packing import interpreter, sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

TEXT = re.compile(r"(licen[cs]e|copying|notice|authors)[^/]*$", re.IGNORECASE)
FOLDERS_OF_TEXTS = {"licenses", "license_files"}  # all files in them
CODE = {".py", ".pyc", ".so", ".json"}
# libraries of Debian 11 in the tree, by the beginning of their file names: package and licence
DEBIAN = {
    "libgcc_s": ("libgcc-s1", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libstdc++": ("libstdc++6", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libbsd": ("libbsd0", "BSD-3-Clause"),
    "libbz2": ("libbz2-1.0", "bzip2-1.0.6"),
    "libedit": ("libedit2", "BSD-3-Clause"),
    "libffi": ("libffi7", "MIT"),
    "liblzma": ("liblzma5", "0BSD"),
    "libmd": ("libmd0", "BSD-3-Clause"),
    "libsqlite3": ("libsqlite3-0", "blessing"),
    "libtinfo": ("libtinfo6", "X11"),
    "libuuid": ("libuuid1", "BSD-3-Clause"),
    "libz": ("zlib1g", "Zlib"),
}
EXTENSION = re.compile(r"\.(cpython-[^.]+|abi3)\.so$")  # a module of Python
LIBRARY = re.compile(r"\.so(\.[\d.]+)?$")
# libraries in wheels, by the beginning of their file names
IN_WHEELS = {
    "libXau": "MIT-open-group",
    "libavif": "BSD-2-Clause",
    "libbrotlicommon": "MIT",
    "libbrotlidec": "MIT",
    "libfreetype": "FTL",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libggml": "MIT",
    "libharfbuzz": "MIT-Modern-Variant",
    "libjpeg": "IJG AND BSD-3-Clause",
    "liblcms2": "MIT",
    "libllama": "MIT",
    "liblzma": "0BSD",
    "libmtmd": "MIT",
    "libopenjp2": "BSD-2-Clause",
    "libpdfium": "BSD-3-Clause AND Apache-2.0",
    "libpng16": "libpng-2.0",
    "libquadmath": "LGPL-2.1-or-later",
    "libscipy_openblas64": "BSD-3-Clause",
    "libsharpyuv": "BSD-3-Clause",
    "libsndfile": "LGPL-2.1-or-later",
    "libtiff": "libtiff",
    "libwebp": "BSD-3-Clause",
    "libwebpdemux": "BSD-3-Clause",
    "libwebpmux": "BSD-3-Clause",
    "libxcb": "X11",
    "libzstd": "BSD-3-Clause",
}


def write_licences(folder: Path, packages: Path, library: Path) -> None:
    """Write the list and the texts of all packages of a tree.

    Raises:
        SetupError: a wheel has a library whose licence is not known here.
    """
    folder.mkdir()
    compiled = (sources.PYTHON, sources.PYTHON_FIXES, sources.OPENSSL, sources.ZSTD)
    rows = [_row(each.software, each.version, each.licence, each.sha256) for each in compiled]
    rows += _debian_libraries(library.parent, folder)
    rows.append(_row("musl", "1.2", "MIT"))
    for info in sorted(packages.glob("*.dist-info")):
        distribution = PathDistribution(info)
        rows += [package_row(distribution), *library_rows(distribution)]
        copy_texts(distribution, folder / distribution.name)
    shutil.copy(environment.ROOT / "LICENSE", folder)
    (folder / "packages.json").write_text(json.dumps(rows, indent=1) + "\n")
    for source in (sources.PYTHON, sources.OPENSSL, sources.ZSTD):
        _copy_text_of_source(source, folder / source.software)


def package_row(distribution: Distribution) -> dict[str, str]:
    """Return the row of a wheel: its licence as the wheel itself states it."""
    head = distribution.metadata
    licence = head.get("License-Expression") or (head.get("License") or "").partition("\n")[0]
    classifiers = [each for each in head.get_all("Classifier") or [] if each.startswith("License")]
    if not licence and classifiers:
        licence = classifiers[-1].rpartition(":: ")[2]
    return _row(distribution.name, distribution.version, licence)


def library_rows(distribution: Distribution) -> list[dict[str, str]]:
    """Return rows of the libraries that a wheel carries, besides its modules of Python.

    Raises:
        SetupError: the licence of one is not known here.
    """
    names = {file.name for file in distribution.files or []}
    files = sorted(n for n in names if LIBRARY.search(n) and not EXTENSION.search(n))
    wheel = f"{distribution.name} {distribution.version}"
    licences = dict(_licence_of(file, wheel) for file in files)
    return [_row(name, wheel, licence) for name, licence in licences.items()]


def copy_texts(distribution: Distribution, target: Path) -> None:
    """Copy the licence texts of a wheel to a folder, by their paths in the wheel."""
    for file in distribution.files or []:
        if not _is_text(file.parts) or file.suffix in CODE:
            continue
        is_metadata = file.parts[0].endswith(".dist-info")
        path = target.joinpath(*file.parts[1:] if is_metadata else file.parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(file.locate()), path)


def _row(name: str, version: str, licence: str, sha256: str = "") -> dict[str, str]:
    return {"name": name, "version": version, "license": licence, "sha256": sha256}


def _licence_of(file: str, wheel: str) -> tuple[str, str]:
    """Return the name of a library in a wheel, and its licence."""
    for name, licence in IN_WHEELS.items():
        if file.startswith(name) and not file[len(name)].isalnum():
            return name, licence
    raise environment.SetupError(
        f"{wheel} carries {file}, whose licence is not known\n"
        f"hint: add it to IN_WHEELS in {Path(__file__).relative_to(environment.ROOT)}"
    )


def _is_text(parts: tuple[str, ...]) -> bool:
    in_metadata = parts[0].endswith(".dist-info")
    return bool(TEXT.match(parts[-1])) or (in_metadata and parts[1] in FOLDERS_OF_TEXTS)


def _debian_libraries(libraries: Path, target: Path) -> Iterator[dict[str, str]]:
    """Yield rows of Python's libraries, and copy what Debian says of their copyright."""
    files = (*libraries.glob("*.so.*"), *libraries.glob("fallback/*.so.*"))
    documents = interpreter.documents()
    for name in sorted({file.name.partition(".")[0] for file in files} & DEBIAN.keys()):
        package, licence = DEBIAN[name]
        yield _row(name, "Debian 11", licence)
        if documents is not None:
            (target / name).mkdir()
            shutil.copy(documents / package / "copyright", target / name)


def _copy_text_of_source(source: sources.Source, target: Path) -> None:
    target.mkdir()
    with tarfile.open(sources.provide(source)) as archive:
        for member in archive:
            name = Path(member.name)
            if len(name.parts) == 2 and name.name.upper().startswith(("LICENSE", "COPYING")):
                content = archive.extractfile(member)
                if content is not None:
                    (target / name.name).write_bytes(content.read())
