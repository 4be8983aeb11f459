"""Configuration of the image: user, volume, port, health check, and what each variant adds.

The server listens on all addresses of the container, so that it demands an API key before it
starts: `docker run -e LOCALRUN_API_KEY=...`. It writes all files to the volume, and its sockets to
/dev/shm, which is writable even with `--read-only`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from container.debian import VULKAN

if TYPE_CHECKING:
    from collections.abc import Sequence

JsonObject = dict[str, object]
USER = 10001
PORT = 11435
VOLUME = "/models"
PROGRAM = "/usr/bin/localrun"
TREES = "/opt/localrun"  # of the unpacked binary
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SECOND_NS = 1_000_000_000
LABEL = "org.opencontainers.image"
LICENCES = "MIT AND LGPL-2.1-or-later AND GPL-3.0-or-later WITH GCC-exception-3.1 AND MPL-2.0"
ENVIRONMENT = {
    "HOME": VOLUME,
    "LANG": "C.UTF-8",
    "LOCALRUN_CACHE": f"{VOLUME}/.cache",
    "LOCALRUN_HOST": f"0.0.0.0:{PORT}",
    "LOCALRUN_MODELS": VOLUME,
    "LOCALRUN_UNPACK": TREES,
    "PATH": "/usr/bin",
    "SSL_CERT_FILE": CERTIFICATES,
    "XDG_RUNTIME_DIR": "/dev/shm",  # noqa: S108 - localrun makes a private folder in it
}
HEALTH_CHECK = {
    "Test": ["CMD", PROGRAM, "health"],
    "Interval": 30 * SECOND_NS,
    "Timeout": 10 * SECOND_NS,
    "StartPeriod": 30 * SECOND_NS,
    "Retries": 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """An image for some hardware; the backends in the binary are in all of them."""

    name: str
    packages: tuple[str, ...] = ()  # besides those of every image
    libraries: tuple[str, ...] = ()  # of the packages, opened by name at run time
    files: tuple[str, ...] = ()  # of the packages, besides libraries
    without: frozenset[str] = frozenset()  # modules of backends in the binary
    environment: tuple[tuple[str, str], ...] = ()
    needs_backend: bool = False  # a file of scripts/build-backend

    @property
    def is_default(self) -> bool:
        """Return whether this is the variant of the plain tag."""
        return self.name == DEFAULT_VARIANT


DEFAULT_VARIANT = "vulkan"
NVIDIA = ("NVIDIA_VISIBLE_DEVICES", "all")
VARIANTS = {
    "cpu": Variant(name="cpu", without=frozenset({"libggml-vulkan.so"})),
    "vulkan": Variant(
        name="vulkan",
        packages=VULKAN,
        # those of X are what NVIDIA's driver, mounted by --gpus all, is linked with
        libraries=(
            *("libvulkan.so.1", "libvulkan_radeon.so", "libvulkan_intel.so"),
            *("libX11.so.6", "libXext.so.6"),
        ),
        files=("usr/share/vulkan/icd.d/radeon_icd.json", "usr/share/vulkan/icd.d/intel_icd.json"),
        environment=(NVIDIA, ("NVIDIA_DRIVER_CAPABILITIES", "compute,graphics,utility")),
    ),
    "cuda": Variant(
        name="cuda",
        without=frozenset({"libggml-vulkan.so"}),
        environment=(NVIDIA, ("NVIDIA_DRIVER_CAPABILITIES", "compute,utility")),
        needs_backend=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the content of the image comes from."""

    version: str
    revision: str
    time_s: int
    source: str | None = None

    @property
    def created(self) -> str:
        """Return the time of the commit as images state times."""
        time = dt.datetime.fromtimestamp(self.time_s, dt.UTC)
        return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def labels(origin: Origin, variant: Variant) -> JsonObject:
    """Return the labels, which are the annotations of the manifest too."""
    values = {
        "title": "localrun",
        "description": f"Run language models on your own machine ({variant.name})",
        "version": origin.version,
        "revision": origin.revision,
        "created": origin.created,
        "licenses": LICENCES,
        **({"source": origin.source} if origin.source else {}),
    }
    return {f"{LABEL}.{name}": value for name, value in values.items()}


def image_config(
    origin: Origin, variant: Variant, architecture: str, diff_ids: Sequence[str]
) -> JsonObject:
    """Return the config blob of an image."""
    environment = ENVIRONMENT | dict(variant.environment)
    return {
        "architecture": architecture,
        **({"variant": "v8"} if architecture == "arm64" else {}),
        "os": "linux",
        "created": origin.created,
        "config": {
            "User": f"{USER}:{USER}",
            "Env": [f"{name}={environment[name]}" for name in sorted(environment)],
            "Entrypoint": [PROGRAM],
            "Cmd": ["serve"],
            "ExposedPorts": {f"{PORT}/tcp": {}},
            "Volumes": {VOLUME: {}},
            "WorkingDir": VOLUME,
            "StopSignal": "SIGTERM",
            "Healthcheck": HEALTH_CHECK,
            "Labels": labels(origin, variant),
        },
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [
            {"created": origin.created, "created_by": f"scripts/build-image, layer {number}"}
            for number in range(1, len(diff_ids) + 1)
        ],
    }
