"""Write an OCI image of the binary, for docker, podman and Kubernetes; needs no daemon.

scripts/build-image                                  dist/image: cpu and Vulkan
scripts/build-image --variant cpu -o image.tar       docker load -i image.tar
skopeo copy oci:dist/image docker://ghcr.io/me/localrun:0.1.0

The bytes depend only on the binary, the commit and the lock file of Debian packages.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import environment

from container.build import current_origin, image_of
from container.config import DEFAULT_VARIANT, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

BINARY = environment.ROOT / "dist" / "localrun"
OUTPUT = environment.ROOT / "dist" / "image"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build one image and print its name, digest and size."""
    options = _parser().parse_args(arguments)
    binary: Path = options.binary
    if not binary.exists():
        raise environment.SetupError(f"{binary} does not exist\nhint: scripts/build-binary")
    origin = current_origin(options.source)
    variant = VARIANTS[options.variant]
    image = image_of(binary, options.output, variant, origin, options.backend)
    print(f"{image.name}  {image.digest}  {image.size / 1e6:.1f} MB compressed  {image.path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/build-image",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "binary", type=Path, nargs="?", default=BINARY, help="the binary (dist/localrun)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=OUTPUT,
        help="a folder, or a file NAME.tar (dist/image)",
    )
    parser.add_argument("--variant", choices=sorted(VARIANTS), default=DEFAULT_VARIANT)
    parser.add_argument(
        "--backend",
        type=Path,
        action="append",
        default=[],
        help="a package of scripts/build-backend, or a wheel of nvidia-cublas that it needs",
    )
    parser.add_argument("--source", help="address of the sources, for a label of the image")
    return parser
