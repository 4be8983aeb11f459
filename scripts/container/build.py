"""Assembly of an image from the program, and the names and times that it states."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import environment
from releasing.checkout import package_version

from container.config import Origin, Variant, image_config, labels
from container.layers import write_layer
from container.layout import pack_layout, write_layout
from container.rootfs import Program, fetch_packages, read_program, system_entries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was written."""

    path: Path
    name: str
    digest: str
    size: int  # bytes of all blobs


def image_of(
    binary: Path, output: Path, variant: Variant, origin: Origin, backends: Sequence[Path] = ()
) -> Image:
    """Write the image of a binary.

    Raises:
        SetupError: the variant needs a backend that is not given, or as `build_image`.
    """
    if variant.needs_backend and not backends:
        raise environment.SetupError(
            f"the variant {variant.name} needs a module\n"
            f"hint: scripts/build-backend {variant.name}, then --backend FILE.zip"
        )
    with tempfile.TemporaryDirectory(prefix="localrun-image-") as scratch:
        program = read_program(binary, Path(scratch), variant.without, backends)
        return build_image(program, output, variant, origin)


def build_image(
    program: Program,
    output: Path,
    variant: Variant,
    origin: Origin,
    packages: Mapping[str, bytes] | None = None,
) -> Image:
    """Write the image: an archive if the name of the output ends in .tar, else a folder.

    Raises:
        SetupError: the output exists and is not an image, or a package cannot be had.
    """
    name = image_name(origin.version, variant)
    if packages is None:
        packages = fetch_packages(program.architecture, variant)
    _make_room(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".image-") as scratch:
        folder = Path(scratch, "layout")
        time_s = origin.time_s
        entries = system_entries(program, variant, packages)
        system = write_layer(entries, Path(scratch, "1"), time_s=time_s)
        layers = [system, write_layer(program.entries, Path(scratch, "2"), time_s=time_s)]
        config = image_config(
            origin, variant, program.architecture, [layer.diff_id for layer in layers]
        )
        notes = labels(origin, variant)
        digest = write_layout(folder, config, layers, name=name, annotations=notes)
        if output.suffix == ".tar":
            pack_layout(folder, Path(scratch, "packed"), time_s=time_s)
            Path(scratch, "packed").replace(output)
        else:
            folder.replace(output)
    return Image(output, name, digest, sum(layer.size for layer in layers))


def image_name(version: str, variant: Variant) -> str:
    """Return the name of an image: the tag of the default variant is the version alone."""
    return f"localrun:{version}" + ("" if variant.is_default else f"-{variant.name}")


def current_origin(source: str | None, environ: dict[str, str] | None = None) -> Origin:
    """Return version, commit and time of the checkout; SOURCE_DATE_EPOCH replaces the time."""
    environ = dict(os.environ) if environ is None else environ
    revision = _git("rev-parse", "HEAD") or "unknown"
    time = environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or "0"
    return Origin(version=package_version(), revision=revision, time_s=int(time), source=source)


def _make_room(output: Path) -> None:
    """Remove an image that was written before; refuse to remove anything else."""
    if output.is_dir() and ((output / "oci-layout").is_file() or not any(output.iterdir())):
        shutil.rmtree(output)
    elif output.is_dir():
        raise environment.SetupError(
            f"{output} has files that are no image\nhint: another --output"
        )


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", environment.ROOT, *arguments], check=False, capture_output=True, text=True
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
