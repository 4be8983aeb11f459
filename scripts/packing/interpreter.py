"""Python of the binary, compiled in a root of an old Debian, so that it runs on old systems too.

    <cache>/localrun/build-root/<key>/root/      Debian 11: a compiler, and glibc 2.31
                                      python/    the result of build-python.sh in it
                                      build.log

A root needs debootstrap and the rights of the superuser. Without them the Python at hand is taken,
and the binary needs the C library that this Python needs. For another processor there is a root of
its own, with Debian's cross compiler, and the Python of this machine to compile the library.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import environment

from packing import sources

if TYPE_CHECKING:
    from collections.abc import Iterable

SUITE, MIRROR = "bullseye", "http://deb.debian.org/debian"  # debootstrap checks signatures
PACKAGES = (
    "gcc", "libc6-dev", "libstdc++6", "make", "patch", "patchelf", "perl", "pkg-config",
    "xz-utils", "libbz2-dev", "libedit-dev", "libffi-dev", "liblzma-dev", "libsqlite3-dev",
    "uuid-dev", "zlib1g-dev",
)  # fmt: skip
# for another processor: its name at Debian, the names of its compiler, and of its libraries
OTHERS = {"aarch64": ("arm64", "aarch64-linux-gnu")}
CROSSING = ("gcc-{triple}", "libc6-dev-{debian}-cross", "libstdc++6-{debian}-cross")
LIBRARIES = tuple(n for n in PACKAGES if n.endswith("-dev") and n != "libc6-dev")
BUILD_PYTHON = Path("opt", "build-python")  # in a root for another processor
RECIPE = Path(__file__).with_name("build-python.sh")
SOURCES = (sources.PYTHON, sources.PYTHON_FIXES, sources.OPENSSL)
TOOLS = ("debootstrap", "chroot", "unshare")
# in a mount namespace of its own: nothing stays mounted, also after kill -9
IN_ROOT = """
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && chroot "$1" /bin/bash -c "$2"
"""
INSTALL = """set -e; export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
dpkg --add-architecture {debian}; apt-get update --quiet
apt-get install --yes --quiet --no-install-recommends {packages}
"""
SYSTEM = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libutil.so", "ld-linux")


def why_no_root() -> str | None:
    """Return why this machine cannot build in a root, None if it can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {missing[0]} (sudo apt install debootstrap)"
    return None if os.geteuid() == 0 else "only the superuser can build in a root of Debian"


def is_other(architecture: str) -> bool:
    """Return whether this machine has another processor."""
    return architecture != platform.machine()


def copy_python(target: Path, architecture: str) -> None:
    """Copy a Python with the libraries that it needs to a folder, compiled the first time.

    Raises:
        SetupError: the build failed, or cannot be done here for this processor.
    """
    reason = why_no_root()
    if reason is None:
        shutil.copytree(_built_python(architecture), target, symlinks=True)
    elif is_other(architecture):
        raise environment.SetupError(f"Python for {architecture} cannot be compiled here: {reason}")
    else:
        environment.say(f"taking this machine's Python, and the C library that it needs: {reason}")
        _copy_own_python(target)


def documents() -> Path | None:
    """Return the folder with the copyright of each package of Debian, None without a root."""
    if why_no_root() is not None:
        return None
    return _folder(platform.machine()) / "root" / "usr" / "share" / "doc"


def _folder(architecture: str) -> Path:
    parts: tuple[object, ...] = (SUITE, PACKAGES)
    if is_other(architecture):
        parts += (architecture, CROSSING, INSTALL)
    digest = hashlib.sha256(RECIPE.read_bytes() + repr(parts).encode())
    digest.update("".join(source.sha256 for source in SOURCES).encode())
    return environment.cache_folder() / "build-root" / digest.hexdigest()[:16]


def _built_python(architecture: str) -> Path:
    folder = _folder(architecture)
    python = folder / "python"
    if not python.is_dir():
        root = folder / "root"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "build.log").open("wb") as log:
            _make_root(root, architecture, log.fileno())
            _build(root, architecture, log.fileno())
        (root / "opt" / "python").rename(python)
    return python


def _make_root(root: Path, architecture: str, log: int) -> None:
    if (root / "work").is_dir():
        return
    environment.say("making a root of Debian 11, once (2 minutes) ...")
    shutil.rmtree(root, ignore_errors=True)
    packages = f"--include={','.join(PACKAGES)}"
    command = ["debootstrap", "--variant=minbase", packages, SUITE, str(root), MIRROR]
    _run(command, log)
    if is_other(architecture):
        debian, triple = OTHERS[architecture]
        names = [name.format(debian=debian, triple=triple) for name in CROSSING]
        names += [f"{name}:{debian}" for name in LIBRARIES]
        _run_in_root(root, INSTALL.format(debian=debian, packages=" ".join(names)), log)
        shutil.copytree(_built_python(platform.machine()), root / BUILD_PYTHON, symlinks=True)
    (root / "work").mkdir()


def _build(root: Path, architecture: str, log: int) -> None:
    environment.say("compiling Python and OpenSSL, once (5 minutes) ...")
    for source in SOURCES:
        shutil.copy(sources.provide(source), root / "work")
    shutil.copy(RECIPE, root / "work")
    target = OTHERS[architecture][1] if is_other(architecture) else ""
    _run_in_root(root, f"TARGET={target} bash /work/{RECIPE.name}", log)


def _run_in_root(root: Path, script: str, log: int) -> None:
    apart = ["unshare", "-m", "--propagation=private"]
    _run([*apart, "sh", "-c", IN_ROOT, "sh", str(root), script], log)


def _run(command: list[str], log: int) -> None:
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    if done.returncode != 0:
        name = Path(f"/proc/self/fd/{log}").readlink()
        raise environment.SetupError(f"{command[0]} failed\nhint: the log is {name}")


def _copy_own_python(target: Path) -> None:
    base, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    program = Path(os.path.realpath(sys.executable))
    (target / "bin").mkdir(parents=True)
    shutil.copy(program, target / "bin" / version)
    unused = shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__")
    library = target / "lib" / version
    shutil.copytree(base / "lib" / version, library, ignore=unused)
    modules = (library / "lib-dynload").glob("*.so")
    for file in _libraries([program, *modules]):
        if not file.name.startswith(SYSTEM):
            shutil.copy(file, target / "lib")


def _libraries(files: Iterable[Path]) -> set[Path]:
    """Return the libraries that the dynamic loader finds for the files."""
    done = subprocess.run(["ldd", *files], check=False, capture_output=True, text=True)
    lines = (line.split() for line in done.stdout.splitlines() if " => /" in line)
    return {Path(words[2]) for words in lines}
