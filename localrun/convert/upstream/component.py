"""llama.cpp's own converter as a file: its Python modules, packed from llama-cpp-python's sources.

    llama-cpp-converter-0.3.36.zip
        convert_hf_to_gguf.py
        conversion/*.py
        gguf/*.py               the version of the package that fits the converter
        LICENSE

It is found where `scripts/build-engine` or `scripts/quickstart` put it, or where an earlier
conversion kept it. Modules are imported from the archive; nothing is unpacked.
"""

from __future__ import annotations

import ast
import re
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from localrun.errors import IntegrityError
from localrun.folders import data_folder
from localrun.program import binary_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION = "0.3.36"  # of llama-cpp-python
SOURCES = f"llama_cpp_python-{VERSION}.tar.gz"
SOURCES_DIGEST = "sha256:832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
FILE = f"llama-cpp-converter-{VERSION}.zip"
VARIABLE = "LOCALRUN_CONVERTER"
MEMBER = re.compile(
    r"llama_cpp_python-[0-9.]{1,20}/vendor/llama\.cpp/"
    r"(?:(?P<top>convert_hf_to_gguf\.py|conversion/\w{1,64}\.py|LICENSE)"
    r"|gguf-py/(?P<package>gguf/\w{1,64}\.py))",
    re.ASCII,
)
TABLES = {"TEXT_MODEL_MAP": "text", "MMPROJ_MODEL_MAP": "projectors"}
MAX_MEMBER_BYTES = 4 << 20
MAX_MEMBERS = 1000
MAX_HEADERS = 50_000  # entries of the source archive, which has 7,000
EPOCH = (1980, 1, 1, 0, 0, 0)
DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, SyntaxError, ValueError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """The archive, and the class names that its converter knows."""

    path: Path
    text: frozenset[str]
    projectors: frozenset[str]

    def converts(self, architectures: list[str]) -> bool:
        """Return whether it converts a model of these class names (``config.json``)."""
        return not self.text.isdisjoint(architectures)

    def has_projector(self, architectures: list[str]) -> bool:
        """Return whether it converts the projector of a model of these class names."""
        return not self.projectors.isdisjoint(architectures)


def find_component(environ: Mapping[str, str]) -> Component | None:
    """Return the component of this machine, None without one.

    Raises:
        IntegrityError: the file is damaged.
    """
    for path in _places(environ):
        if path.is_file():
            return open_component(path)
    return None


def kept_path() -> Path:
    """Return the path where a component is kept that was packed on demand."""
    return data_folder() / "converter" / FILE


def open_component(path: Path) -> Component:
    """Return the component in a file; its code is read, not run.

    Raises:
        IntegrityError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            source = archive.read("conversion/__init__.py")
        tables = _tables(source)
        return Component(path=path, text=tables["text"], projectors=tables["projectors"])
    except DAMAGED as error:
        raise IntegrityError(
            f"{path} is not llama.cpp's converter: {error}", hint=f"rm {path}   and try again"
        ) from error


def pack(sources: BinaryIO, target: BinaryIO) -> None:
    """Write the component from the archive of llama-cpp-python's sources (.tar.gz).

    The same sources give the same bytes. The archive is read as a stream.

    Raises:
        IntegrityError: the archive is damaged, or has no converter.
    """
    try:
        with tarfile.open(fileobj=sources, mode="r|gz") as tar:
            members = dict(_members(tar))
    except (tarfile.TarError, *DAMAGED) as error:
        raise IntegrityError(f"{SOURCES} is damaged: {error}") from error
    if "convert_hf_to_gguf.py" not in members or "conversion/__init__.py" not in members:
        raise IntegrityError(f"{SOURCES} has no converter")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), members[name], zipfile.ZIP_DEFLATED)


def _places(environ: Mapping[str, str]) -> Iterator[Path]:
    named = environ.get(VARIABLE, "").strip()
    if named:
        yield Path(named)
    yield Path(sys.prefix, "share", "localrun", FILE)
    yield kept_path()


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for count, entry in enumerate(tar):
        if count > MAX_HEADERS:
            raise IntegrityError(f"{SOURCES} has more than {MAX_HEADERS:,} entries")
        match = MEMBER.fullmatch(entry.name)
        file = tar.extractfile(entry) if match and entry.isfile() else None
        if match is None or file is None:
            continue
        content = file.read(MAX_MEMBER_BYTES + 1)
        if len(content) > MAX_MEMBER_BYTES:
            raise IntegrityError(f"{SOURCES}: {entry.name} is too large")
        yield match["top"] or match["package"], content


def _tables(source: bytes) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            kind = TABLES.get(node.target.id)
            if kind is not None:
                found[kind] = frozenset(ast.literal_eval(node.value))
    if len(found) != len(TABLES):
        raise ValueError("it has no table of architectures")
    return found


def missing_packages() -> list[str]:
    """Return the packages of the extra ``convert`` that are not installed."""
    from importlib.util import find_spec

    wanted = ("torch", "transformers", "sentencepiece")
    return [name for name in wanted if find_spec(name) is None]


def is_frozen() -> bool:
    """Return whether this is a one-file build, which has no Python for other programs."""
    return bool(getattr(sys, "frozen", False)) or binary_file() is not None
