"""Steps of a release: each makes files of the release by the script that anybody can run alone."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import environment
from container import debian
from container.build import image_of
from container.config import VARIANTS, Origin
from container.unpacked import unpack_binary

from releasing.distributions import build_distributions
from releasing.sbom import (
    add_binary,
    add_image,
    locked_components,
    sbom,
    write_sbom,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from releasing.checkout import Checkout

SCRIPTS = environment.ROOT / "scripts"
IMAGES = ("cpu", "vulkan")
IMAGES_WITHOUT_BACKENDS = ("cpu",)
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as images name them


@dataclass(slots=True, kw_only=True)
class Release:
    """A release in the making: the folder of its files, and files that were given."""

    checkout: Checkout
    folder: Path
    engine: Path | None = None
    backends: list[Path] = field(default_factory=list)
    binary: Path | None = None
    images: tuple[str, ...] = IMAGES  # variants

    def name(self, suffix: str = "") -> Path:
        """Return the path of a file that depends on the machine."""
        system = f"{platform.system().lower()}-{platform.machine()}"
        return self.folder / f"localrun-{self.checkout.version}-{system}{suffix}"


def check(release: Release) -> None:
    """Run the checks and the tests, with the binary if it was given."""
    _run("check")
    _run("test")
    if release.binary is not None:
        _run("test", "--binary", release.binary)


def build_python(release: Release) -> None:
    """Build source archive and wheel of the package."""
    tools = environment.build_tools(environment.ensure_python())
    build_distributions(release.checkout, release.folder, tools)


def build_engine(release: Release) -> None:
    """Build the wheel of llama-cpp-python for this architecture, or copy the given one."""
    if release.engine is None:
        _run("build-engine", "--arch", platform.machine(), "--output", release.folder)
        release.engine = _newest(release.folder, "llama_cpp_python-*.whl")
    else:
        release.engine = _copied(release.engine, release.folder)


def build_backends(release: Release) -> None:
    """Build the backend for Vulkan, or copy those that were given."""
    if not release.backends:
        _run("build-backend", "vulkan", "--output", release.folder)
        release.backends = [_newest(release.folder, "*vulkan*.zip")]
    else:
        release.backends = [_copied(path, release.folder) for path in release.backends]


def build_binary(release: Release) -> None:
    """Build the binary from engine and backends, or copy the given one."""
    target = release.name()
    if release.binary is not None:
        shutil.copy(release.binary, target)
    else:
        arguments: list[object] = ["--output", target]
        if release.engine is not None:
            arguments += ["--engine", release.engine]
        for backend in release.backends or ["none"]:
            arguments += ["--backend", backend]
        if not release.backends:
            release.images = IMAGES_WITHOUT_BACKENDS
        _run("build-binary", *arguments)
    release.binary = target


def build_images(release: Release) -> None:
    """Write the container images of the binary.

    Raises:
        SetupError: there is no binary.
    """
    if release.binary is None:
        raise environment.SetupError(
            "an image needs the binary\nhint: --binary FILE, or --skip binary,image"
        )
    checkout = release.checkout
    origin = Origin(version=checkout.version, revision=checkout.revision, time_s=checkout.time_s)
    for variant in release.images:
        name = f"localrun-{release.checkout.version}-image-{variant}-{image_architecture()}.tar"
        image_of(release.binary, release.folder / name, VARIANTS[variant], origin)


def build_sbom(release: Release) -> None:
    """Write the bill of materials of what was built."""
    components = locked_components()
    if release.binary is not None and release.binary.parent == release.folder:
        add_binary(components, _packages_in(release.binary))
    if list(release.folder.glob("*-image-*")):
        architecture = image_architecture()
        locked = json.loads(debian.LOCK.read_text())["packages"][architecture]
        names = {name for variant in release.images for name in VARIANTS[variant].packages}
        used = {name: locked[name] for name in sorted({*debian.BASE, *names})}
        add_image(components, used, architecture)
    write_sbom(sbom(release.checkout, components.values()), release.name(".cdx.json"))


def image_architecture() -> str:
    """Return the architecture of this machine as images name it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


STEPS: Mapping[str, Callable[[Release], None]] = {
    "checks": check,
    "python": build_python,
    "engine": build_engine,
    "backends": build_backends,
    "binary": build_binary,
    "image": build_images,
    "sbom": build_sbom,
}


def _packages_in(binary: Path) -> list[dict[str, str]]:
    """Return the list of packages that the binary carries."""
    with tempfile.TemporaryDirectory(prefix="localrun-release-") as scratch:
        unpacked = unpack_binary(binary, Path(scratch))
        if unpacked is None:
            return []
        rows: list[dict[str, str]] = json.loads(
            (unpacked.tree / "licenses" / "packages.json").read_text()
        )
        return rows


def _run(script: str, *arguments: object) -> None:
    """Run a script of this folder.

    Raises:
        SetupError: it failed; it has printed why.
    """
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    environment.say(f"$ scripts/{' '.join([script, *map(str, arguments)])}")
    if not (SCRIPTS / script).is_file() or subprocess.run(command, check=False).returncode != 0:
        raise environment.SetupError(f"scripts/{script} failed")


def _newest(folder: Path, pattern: str) -> Path:
    paths = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise environment.SetupError(f"{folder} has no {pattern}")
    return paths[-1]


def _copied(path: Path, folder: Path) -> Path:
    return Path(shutil.copy(path, folder / path.name))
