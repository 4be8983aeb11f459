"""llama-cpp-python's own public indexes: which of them fit this machine, and their wheels' digests.

    https://abetlen.github.io/llama-cpp-python/whl/{cpu,cu121,...,metal}/llama-cpp-python/

The pages link to files of GitHub releases and have no digests, but GitHub's API reports the digest
of each file of a release. A wheel without any digest is not taken: it would run unchecked code that
nobody named. Vulkan's and ROCm's indexes are used only if ``LOCALRUN_ENGINE_WHEEL`` names them:
whether their drivers are complete cannot be told from outside.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.parse
from typing import TYPE_CHECKING

import environment

from engines import explicit, fetching
from engines.fetching import Link, WheelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INDEX = "LOCALRUN_ENGINE_INDEX"
DEFAULT = "https://abetlen.github.io/llama-cpp-python/whl"
CUDA_INDEXES = (132, 130, 125, 124, 123, 122, 121)  # newest first
RELEASE = re.compile(r"/([^/]+/[^/]+)/releases/download/([^/]+)/[^/]+")
API = "https://api.github.com"
DRIVER = (
    "import ctypes; n = ctypes.c_int(); "
    "print(n.value if ctypes.CDLL('libcuda.so.1').cuDriverGetVersion(ctypes.byref(n)) == 0 else 0)"
)
DRIVER_S = 5.0


def candidates(folder: Path) -> Iterator[Path]:
    """Yield the downloaded wheels of the indexes that fit, the best first; print why one fails."""
    base = os.environ.get(INDEX, DEFAULT).strip().rstrip("/")
    if base in {"", "off"}:
        return
    for backend in fitting_indexes(sys.platform, cuda_version()):
        try:
            yield _download(f"{base}/{backend}", folder)
        except WheelError as error:
            environment.say(f"no public wheel for {backend}: {error}")
            if "cannot be read" in str(error):
                return  # the others are on the same server


def fitting_indexes(system: str, cuda: tuple[int, int] | None) -> list[str]:
    """Return the names of the indexes for a system and the newest CUDA that its driver runs."""
    if system == "darwin":
        return ["metal"]
    if cuda is None:
        return ["cpu"]
    fitting = [number for number in CUDA_INDEXES if divmod(number, 10) <= cuda]
    return [*(f"cu{number}" for number in fitting[:1]), "cpu"]


def cuda_version() -> tuple[int, int] | None:
    """Return the newest CUDA that NVIDIA's driver runs, asked in a child as it may crash."""
    if sys.platform == "darwin":
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER],
            check=False,
            capture_output=True,
            text=True,
            timeout=DRIVER_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = int(done.stdout) if done.stdout.strip().isdigit() else 0
    return (number // 1000, number % 1000 // 10) if number else None


def _download(index: str, folder: Path) -> Path:
    link = explicit.choose(fetching.read_links(explicit.project_page(index)), index)
    digest = link.sha256 if fetching.is_trusted(index) else None
    digest = digest or release_digest(link)
    if digest is None:
        raise WheelError(
            f"{link.name} has no digest; to take it all the same: {explicit_setting(index)}"
        )
    environment.say(f"downloading {link.name} of {index} ...")
    return fetching.download(Link(link.url, digest), folder)


def explicit_setting(index: str) -> str:
    """Return the setting that takes a wheel of the index without a digest."""
    return f"LOCALRUN_ENGINE_WHEEL={index}"


def release_digest(link: Link) -> str | None:
    """Return the digest that GitHub reports for a file of a release; None for other files."""
    parts = urllib.parse.urlsplit(link.url)
    match = RELEASE.fullmatch(parts.path)
    if parts.hostname != "github.com" or match is None:
        return None
    url = f"{API}/repos/{match[1]}/releases/tags/{match[2]}"
    try:
        release = json.loads(fetching.read_page(url, {"Accept": "application/vnd.github+json"}))
        digests = {asset["name"]: asset.get("digest") or "" for asset in release["assets"]}
    except (WheelError, ValueError, KeyError, TypeError):
        return None
    digest = str(digests.get(link.name, "")).removeprefix("sha256:")
    return digest if fetching.HEX_DIGEST.fullmatch(digest) else None
