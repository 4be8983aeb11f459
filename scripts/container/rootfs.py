"""Files of the image: a minimal Debian that runs one program, then the program.

system layer    glibc and what the variant's drivers need, certificates, user 10001, /models
program layer   the binary, unpacked so that nothing has to be written when it starts
"""

from __future__ import annotations

import posixpath
import stat
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import elf
import environment

from container import debian
from container.config import CERTIFICATES, PROGRAM, TREES, USER, VOLUME
from container.layers import FILE_MODE, PROGRAM_MODE, Entry
from container.libraries import OF_GLIBC, Libraries
from container.unpacked import unpack_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from container.config import Variant
    from container.debian import PackageFile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as Debian and OCI name them
INTERPRETERS = {
    "amd64": "usr/lib64/ld-linux-x86-64.so.2",
    "arm64": "usr/lib/ld-linux-aarch64.so.1",
}
MOZILLA = "usr/share/ca-certificates/mozilla/"
BESIDE = "libggml-base.so.0"  # in site-packages/llama_cpp/lib, as the modules of backends are
DOC, STATUS = "usr/share/doc", "var/lib/dpkg/status.d"
MERGED = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
MOUNTED = ("dev", "proc", "sys")
NO_LOGIN = "/sbin/nologin"
ACCOUNTS = {
    "etc/passwd": f"root:x:0:0:root:/root:{NO_LOGIN}\n"
    f"localrun:x:{USER}:{USER}:localrun:{VOLUME}:{NO_LOGIN}\n",
    "etc/group": f"root:x:0:\nlocalrun:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
ALWAYS = ("etc/debian_version", "etc/os-release", "usr/lib/os-release")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The program: its entries, its machine, and the libraries that it brings and needs."""

    entries: tuple[Entry, ...]
    architecture: str
    own: frozenset[str] = frozenset()
    needed: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Headers:
    """What the ELF files of the program say."""

    machines: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    needed: set[tuple[str, str]] = field(default_factory=set)

    def add(self, path: Path, name: str) -> None:
        """Note the header of a file, if it has one."""
        facts = elf.read(path) if elf.is_elf(path) else None
        if facts is not None and facts.machine in ARCHITECTURES:
            self.machines.add(ARCHITECTURES[facts.machine])
            self.own |= {posixpath.basename(name), facts.soname or ""}
            folders = [Path(text.replace("$ORIGIN", str(path.parent))) for text in facts.search]
            self.needed |= {
                (needed, name)
                for needed in facts.needed
                if not any((folder / needed).exists() for folder in folders)
            }


def read_program(
    path: Path,
    scratch: Path,
    without: frozenset[str] = frozenset(),
    backends: Sequence[Path] = (),
) -> Program:
    """Return the program of a binary, which unpacks itself into ``scratch``, or of another file.

    ``without`` are names of files that are left out, ``backends`` packages of
    scripts/build-backend, and wheels of the libraries of NVIDIA that these need.

    Raises:
        SetupError: it does not run, or has files for several machines.
    """
    unpacked = unpack_binary(path, scratch)
    headers = _Headers()
    if unpacked is None:
        headers.add(path, path.name)
        entries = [Entry(path=PROGRAM.strip("/"), content=path, mode=PROGRAM_MODE)]
    else:
        for backend in backends:
            _add_backend(backend, unpacked.tree)
        start = Entry(path=PROGRAM.strip("/"), content=unpacked.launcher, mode=PROGRAM_MODE)
        folder = f"{TREES.strip('/')}/{unpacked.key}"
        paths = [path for path in unpacked.tree.rglob("*") if path.name not in without]
        entries = [start, *_tree(unpacked.tree, sorted(paths), folder, headers)]
    if len(headers.machines) != 1:
        machines = ", ".join(sorted(headers.machines)) or "none"
        raise environment.SetupError(
            f"{path} must have programs for one machine; it has: {machines}"
        )
    (architecture,) = headers.machines
    return Program(
        entries=tuple(entries),
        architecture=architecture,
        own=frozenset(headers.own - {""}),
        needed=tuple(sorted(headers.needed)),
    )


def fetch_packages(architecture: str, variant: Variant) -> dict[str, bytes]:
    """Return the Debian packages of a variant by name, downloaded the first time.

    Raises:
        SetupError: a package cannot be had.
    """
    names = tuple(dict.fromkeys((*debian.BASE, *variant.packages)))
    locked = debian.locked_packages(architecture, names)
    return {package.name: debian.fetch(package) for package in locked}


def system_entries(
    program: Program, variant: Variant, packages: Mapping[str, bytes]
) -> list[Entry]:
    """Return the entries of the system layer, from Debian packages.

    Raises:
        SetupError: no package has a library that is needed.
    """
    entries = [
        Entry(path=path, content=text.encode(), mode=FILE_MODE) for path, text in ACCOUNTS.items()
    ]
    entries += [Entry(path=path, link=link) for path, link in MERGED.items()]
    entries += [Entry(path=folder) for folder in MOUNTED]
    entries.append(Entry(path="tmp", mode=0o1777))
    entries.append(Entry(path=VOLUME.strip("/"), owner=USER))
    return [*entries, *_package_entries(program, variant, packages)]


def _package_entries(
    program: Program, variant: Variant, packages: Mapping[str, bytes]
) -> Iterator[Entry]:
    files: dict[str, PackageFile] = {}
    owners: dict[str, str] = {}
    for name, deb in packages.items():
        files |= {file.path: file for file in debian.read_files(deb)}
        owners |= {path: name for path in files if path not in owners}
    wanted = [(name, "the image") for name in (*OF_GLIBC, *variant.libraries)]
    libraries = Libraries(files, program.architecture)
    taken = libraries.closure([*program.needed, *wanted], program.own)
    for path in (INTERPRETERS[program.architecture], *ALWAYS, *variant.files):
        taken |= libraries.with_links(path)
    certificates = [files[path] for path in sorted(files) if path.startswith(MOZILLA)]
    bundle = b"".join(file.content.rstrip(b"\n") + b"\n" for file in certificates)
    yield Entry(path=CERTIFICATES.strip("/"), content=bundle, mode=FILE_MODE)
    used = {owners[path] for path in taken} | {"ca-certificates"}
    taken |= _licences(files, used)
    for file in taken.values():
        content = None if file.link is not None else file.content
        yield Entry(path=file.path, content=content, link=file.link, mode=file.mode)
    for name in sorted(used):
        control = debian.read_control(packages[name])
        yield Entry(path=f"{STATUS}/{name}", content=control.encode(), mode=FILE_MODE)


def _licences(files: dict[str, PackageFile], packages: set[str]) -> dict[str, PackageFile]:
    """Return the texts of the licences of packages, and the common ones that they refer to."""
    wanted = {path for path in files if path.startswith("usr/share/common-licenses/")}
    for name in packages:
        folder = files.get(f"{DOC}/{name}")
        if folder is not None and folder.link is not None:  # shared with another package
            wanted |= {folder.path, f"{DOC}/{folder.link}/copyright"}
        else:
            wanted.add(f"{DOC}/{name}/copyright")
    return {path: files[path] for path in wanted}


def _add_backend(package: Path, tree: Path) -> None:
    """Unpack modules beside the engine's, or the libraries of a wheel in their place."""
    engine = next(tree.rglob(BESIDE)).parent
    is_wheel = package.suffix == ".whl"
    with zipfile.ZipFile(package) as members:
        names = [name for name in members.namelist() if ".so" in name and is_wheel == ("/" in name)]
        for name in names:
            members.extract(name, engine.parents[1] if is_wheel else engine)
    if not names:
        raise environment.SetupError(f"{package} has no libraries")


def _tree(root: Path, paths: Sequence[Path], target: str, headers: _Headers) -> Iterator[Entry]:
    for path in paths:
        name = path.relative_to(root).as_posix()
        at = f"{target}/{name}"
        if path.is_symlink():
            yield Entry(path=at, link=str(path.readlink()))
        elif path.is_dir():
            yield Entry(path=at)
        else:
            headers.add(path, name)
            is_program = path.stat().st_mode & stat.S_IXUSR
            yield Entry(path=at, content=path, mode=PROGRAM_MODE if is_program else FILE_MODE)
