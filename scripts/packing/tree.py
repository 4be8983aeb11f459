"""Tree of the binary: what its launcher unpacks.

    bin/python3.13, bin/localrun    Python, and the entry point that the launcher starts
    lib/*.so.*                      libraries that Python's modules need
    lib/fallback/                   GCC's libraries, for a machine that has no C++ library
    lib/python3.13/                 Python's library
    lib/python3.13/site-packages/   the packages of scripts/locks/run.txt, the engine with the
                                    modules of backends, and localrun
    licenses/                       packages.json, and the licence texts
    pyvenv.cfg                      keeps the user's own packages out

Everything is compiled to bytecode that is never checked against its source, so that nothing is
written when it runs, from any folder. Sources stay, for tracebacks.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import elf
import environment

from packing import interpreter, licences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ENTRY_POINT = """\
import sys

from localrun.front import main

sys.exit(main())
"""
# Each process of the tree holds this lock, and with it the tree (scripts/launcher/tree.c). The C++
# library that numpy needs is the machine's, which drivers of GPUs may need newer than ours.
SITE = """\
import fcntl
import os
import sys

try:
    _lock = os.open(sys.prefix + "/.lock", os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(_lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
except OSError:  # a file system without locks
    pass

_folders = ("/usr/lib64", "/usr/lib", f"/usr/lib/{os.uname().machine}-linux-gnu", "/lib64", "/lib")
if not any(os.path.exists(f"{folder}/libstdc++.so.6") for folder in _folders):
    import ctypes

    for _name in ("libgcc_s.so.1", "libstdc++.so.6"):
        ctypes.CDLL(f"{sys.prefix}/lib/fallback/{_name}")
"""
NO_USER_PACKAGES = "include-system-site-packages = false\n"
UNUSED_LIBRARY = (
    "__phello__", "config-*", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter",
    "turtledemo", "turtle.py", "LICENSE.txt",
)  # fmt: skip
UNUSED_FOLDERS = {"__pycache__", "tests", "include"}
UNUSED_FILES = (
    "*.a", "*.pyi", "*.h", "*.c", "*.pyx", "*.pxd", "*.exe", "*.pth",
    "RECORD", "direct_url.json",  # they have the folder of the build
)  # fmt: skip
# required by modelscope, of which only modelscope_hub is used: a third of the tree
UNUSED_PACKAGES = ("modelscope", "setuptools", "pkg_resources", "_distutils_hack", "bin")
FLOOR = (2, 31)  # of Debian 11, in which Python is built, and of llguidance
OLDEST_TAGGED = 5  # manylinux_2_5, which pip knows also as manylinux1
PROTOCOL = "localrun/warm/protocol.py"


@dataclass(frozen=True)
class Tree:
    """A complete tree: its folder, and paths in it."""

    folder: Path
    python: Path
    packages: Path
    runner: Path  # the same Python for this machine, which has the package backports.zstd

    def facts(self) -> list[str]:
        """Return what the launcher must know, in the order of its `struct program`."""
        code = "import sys; sys.path.insert(0, sys.argv[1]); import localrun"
        code += "; print(localrun.__version__); print(sys.version)"
        output = run([self.runner, "-B", "-I", "-c", code, self.packages])
        version, _, python_version = output.partition("\n")
        floor = ".".join(map(str, self.glibc()))
        paths = (self.python, self.folder / "bin" / "localrun", self.packages / PROTOCOL)
        inside = [path.relative_to(self.folder).as_posix() for path in paths]
        return [version, *inside, python_version.rstrip("\n"), floor]

    def glibc(self) -> tuple[int, int]:
        """Return the oldest version of glibc that all programs and libraries run with."""
        return elf.glibc_floor(elf_files(self.folder))


def make_tree(
    folder: Path, architecture: str, engine: Path, backends: Sequence[Path], pip: Path
) -> Tree:
    """Make a tree in a folder that does not exist; ``pip`` is a folder with the package pip.

    A tree for another processor needs a Python of this machine, in a folder beside it.

    Raises:
        SetupError: a part cannot be had.
    """
    interpreter.copy_python(folder, architecture)
    python = _program(folder)
    library = folder / "lib" / python.name
    runner = python
    if interpreter.is_other(architecture):
        runner = _python_of_this_machine(folder.with_name("runner"), pip)
    tree = Tree(folder, python, library / "site-packages", runner)
    _remove_unused_parts_of_python(tree, library)
    _install(tree, architecture, engine, pip)
    for backend in backends:
        _add_backend(tree, backend)
    (folder / "bin" / "localrun").write_text(ENTRY_POINT)
    (folder / "pyvenv.cfg").write_text(NO_USER_PACKAGES)
    (tree.packages / "sitecustomize.py").write_text(SITE)
    licences.write_licences(folder / "licenses", tree.packages, library)
    _remove_unused_files(tree.packages)
    run([runner, "-I", "-m", "compileall", "-q", "-j", "0", "-f", "--invalidation-mode",
         "unchecked-hash", "-s", folder, library])  # fmt: skip
    return tree


def elf_files(folder: Path) -> list[Path]:
    """Return the programs and libraries in a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in files if elf.is_elf(path)]


def _program(folder: Path) -> Path:
    (found,) = (path for path in (folder / "bin").glob("python3.[0-9]*") if "-" not in path.name)
    return found


def _python_of_this_machine(folder: Path, pip: Path) -> Path:
    """Return a Python that has what `packing.payload` imports."""
    interpreter.copy_python(folder, platform.machine())
    python = _program(folder)
    lines = (environment.LOCKS / "run.txt").read_text().split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith("backports-zstd=="))
    last = next(n for n in range(first, len(lines)) if not lines[n].endswith("\\"))
    lock = folder / "lock.txt"
    lock.write_text("\n".join(lines[first : last + 1]))
    command = [python, "-I", pip / "pip", "install", "--quiet", "--no-input", "--no-deps"]
    run([*command, "--require-hashes", "--disable-pip-version-check", "-r", lock])
    return python


def _remove_unused_parts_of_python(tree: Tree, library: Path) -> None:
    for path in (tree.folder / "bin").iterdir():
        if path != tree.python:
            path.unlink()
    for name in ("include", "share"):
        shutil.rmtree(tree.folder / name, ignore_errors=True)
    shutil.rmtree(tree.folder / "lib" / "pkgconfig", ignore_errors=True)
    for pattern in UNUSED_LIBRARY:
        _remove(library.glob(pattern))
    _remove(library.rglob("__pycache__"))
    (tree.folder / ".complete").unlink(missing_ok=True)
    tree.packages.mkdir(exist_ok=True)
    _remove(tree.packages.iterdir())


def _install(tree: Tree, architecture: str, engine: Path, pip: Path) -> None:
    """Install the locked packages, the engine and this package, as wheels that fit the floor."""
    command = [tree.runner, "-I", pip / "pip", "install", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-compile", "--target", tree.packages]
    locked = ["--require-hashes", "--only-binary", ":all:", *_platforms(tree, architecture)]
    run([*command, *locked, "-r", environment.LOCKS / "run.txt"])
    run([*command, "--no-index", "--ignore-requires-python",
         *_platforms(tree, architecture), "--only-binary", ":all:", engine])  # fmt: skip
    shutil.copytree(
        environment.ROOT / "localrun",
        tree.packages / "localrun",
        ignore=shutil.ignore_patterns("__pycache__"),
    )


def _platforms(tree: Tree, machine: str) -> list[str]:
    """Return pip's options for wheels that need no newer glibc than Python itself."""
    code = "import os; print(os.confstr('CS_GNU_LIBC_VERSION'))"
    _, newest = run([tree.runner, "-I", "-c", code]).split()
    minor = FLOOR[1] if interpreter.why_no_root() is None else int(newest.partition(".")[2])
    tags = [f"manylinux_2_{number}_{machine}" for number in range(minor, OLDEST_TAGGED - 1, -1)]
    tags += [f"manylinux2014_{machine}", f"linux_{machine}"]
    return [word for tag in tags for word in ("--platform", tag)]


def _add_backend(tree: Tree, archive: Path) -> None:
    """Put the modules of a backend's archive beside the engine's libraries."""
    with zipfile.ZipFile(archive) as members:
        modules = [name for name in members.namelist() if name.endswith(".so") and "/" not in name]
        for name in modules:
            members.extract(name, tree.packages / "llama_cpp" / "lib")
    if not modules:
        raise environment.SetupError(f"{archive} has no module of a backend")


def _remove_unused_files(packages: Path) -> None:
    for folder, folders, _ in os.walk(packages):
        for name in UNUSED_FOLDERS & set(folders):
            shutil.rmtree(Path(folder, name))
            folders.remove(name)
    for pattern in UNUSED_FILES:
        _remove(packages.rglob(pattern))
    for name in UNUSED_PACKAGES:
        shutil.rmtree(packages / name, ignore_errors=True)


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def run(command: Sequence[str | Path]) -> str:
    """Run a program of the build to its end; return what it writes to stdout.

    Raises:
        SetupError: it failed.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=variables)
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip()
        raise environment.SetupError(f"{Path(command[0]).name} failed:\n{output}")
    return done.stdout
