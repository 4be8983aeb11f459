"""Manifest of a backend module: its backend, its digest, and the build of llama.cpp that it fits.

    {"format_version": 1, "backend": "vulkan", "library": "libggml-vulkan.so",
     "sha256": "3f2a...", "size_bytes": 29012345, "platform": "linux-x86_64", "glibc": "2.28",
     "llama_cpp_python": "0.3.36", "llama_cpp_commit": "0c1e57098", "ggml": "0.25.3",
     "licence": "MIT"}

A module calls functions and reads structures of llama.cpp that change from commit to commit, and
llama.cpp itself checks hardly any of that: a module of another commit may crash or compute wrongly.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import sys
from dataclasses import asdict, dataclass, fields
from typing import Self

from localrun.errors import IntegrityError

FORMAT_VERSION = 1
LIBRARIES = {  # by backend, without prefix and suffix; ROCm's library has the name of its language
    "cuda": "ggml-cuda",
    "rocm": "ggml-hip",
    "vulkan": "ggml-vulkan",
    "metal": "ggml-metal",
}
MAX_LIBRARY_BYTES = 4 << 30
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
VERSION = re.compile(r"\d+(\.\d+){0,3}", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{7,40}", re.ASCII)
LIBRARY = re.compile(r"[A-Za-z0-9_.-]{1,100}\.(?:so|dylib|dll)", re.ASCII)
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBuild:
    """The build of llama.cpp that this program runs."""

    llama_cpp_python: str
    ggml: str
    commit: str = UNKNOWN  # a build outside of a checkout does not know it

    def __str__(self) -> str:
        commit = _commit(self.commit)
        named = f" of llama.cpp {commit}" if commit else ""
        return f"llama-cpp-python {self.llama_cpp_python}, ggml {self.ggml}{named}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleManifest:
    """What a module states about itself."""

    backend: str
    library: str  # file name
    sha256: str
    size_bytes: int
    platform: str  # "linux-x86_64"
    glibc: str  # the lowest version that has the symbols; "" on other systems than Linux
    llama_cpp_python: str
    llama_cpp_commit: str
    ggml: str
    licence: str

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse a manifest.

        Raises:
            IntegrityError: it is not a manifest, or of an unknown version.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise IntegrityError("the manifest of the backend is not JSON") from error
        if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
            raise IntegrityError(
                "the manifest of the backend has an unknown format",
                hint="a newer localrun made it; update this one",
            )
        types = {field.name: int if field.name == "size_bytes" else str for field in fields(cls)}
        for name, kind in types.items():
            if type(content.get(name)) is not kind:
                raise IntegrityError(f"the manifest of the backend has no valid {name}")
        manifest = cls(**{name: content[name] for name in types})
        manifest.check()
        return manifest

    def to_json(self) -> str:
        """Return the text of the manifest."""
        content = {"format_version": FORMAT_VERSION, **asdict(self)}
        return json.dumps(content, indent=2, sort_keys=True) + "\n"

    def check(self) -> None:
        """Check the values, which become names of files.

        Raises:
            IntegrityError: a value is not of its form.
        """
        sound = {
            "backend": self.backend in LIBRARIES,
            "library": bool(LIBRARY.fullmatch(self.library)),
            "sha256": bool(SHA256.fullmatch(self.sha256)),
            "size_bytes": 0 < self.size_bytes <= MAX_LIBRARY_BYTES,
            "glibc": not self.glibc or bool(VERSION.fullmatch(self.glibc)),
        }
        for name, is_sound in sound.items():
            if not is_sound:
                raise IntegrityError(f"the manifest of the backend has no valid {name}")


def why_not_engine(manifest: ModuleManifest, engine: EngineBuild) -> str | None:
    """Return why a module does not fit a build of llama.cpp, or None if it does."""
    ours, theirs = _commit(engine.commit), _commit(manifest.llama_cpp_commit)
    if ours and theirs:
        if ours.startswith(theirs) or theirs.startswith(ours):
            return None
        return f"it was built from llama.cpp {theirs}, and this localrun runs {ours}"
    same = (manifest.ggml, manifest.llama_cpp_python) == (engine.ggml, engine.llama_cpp_python)
    if same:
        return None
    return (
        f"it was built for llama-cpp-python {manifest.llama_cpp_python}, ggml {manifest.ggml}, "
        f"and this localrun runs {engine}"
    )


def why_not_machine(manifest: ModuleManifest, host: str | None = None) -> str | None:
    """Return why a module cannot run on this machine, or None if it can."""
    host = host or host_platform()
    if manifest.platform != host:
        return f"it was built for {manifest.platform}, and this machine is {host}"
    ours = glibc_version()
    if manifest.glibc and ours and _numbers(manifest.glibc) > _numbers(ours):
        return f"it needs glibc {manifest.glibc}, and this machine has {ours}"
    return None


def host_platform() -> str:
    """Return the system and the processor's architecture: ``linux-x86_64``."""
    machine = platform.machine().lower()
    return f"{sys.platform}-{MACHINES.get(machine, machine)}"


def glibc_version() -> str:
    """Return the version of the C library, or an empty string if it is not glibc."""
    name = version = ""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError):
            name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    return version if name == "glibc" and VERSION.fullmatch(version) else ""


def package_name(backend: str, version: str) -> str:
    """Return the file name of a module for this platform, as releases have it."""
    return f"localrun-backend-{backend}-{version}-{host_platform()}.zip"


def _commit(text: str) -> str:
    """Return the commit in a text such as ``0c1e570-dirty``, or an empty string.

    Source archives count as changed, since they leave out files.
    """
    match = COMMIT.match(text)
    return match[0] if match else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
