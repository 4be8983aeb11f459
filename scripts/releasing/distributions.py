"""Source archive and wheel of the package, with the same bytes for the same commit.

hatchling writes sorted entries with the time in SOURCE_DATE_EPOCH; neither the folder nor the time
zone nor the umask of the build matters.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from releasing.checkout import Checkout


def build_distributions(checkout: Checkout, folder: Path, tools: Mapping[str, str]) -> list[Path]:
    """Build the archive and the wheel; ``tools`` are those of `environment.build_tools`.

    Raises:
        SetupError: the build failed.
    """
    variables = os.environ | tools | {"SOURCE_DATE_EPOCH": str(checkout.time_s)}
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", folder],
        cwd=checkout.root,
        check=False,
        capture_output=True,
        text=True,
        env=variables,
    )
    if done.returncode != 0:
        raise environment.SetupError(f"hatchling failed:\n{done.stderr.strip()}")
    names = (f"localrun-{checkout.version}.tar.gz", f"localrun-{checkout.version}-py3-none-any.whl")
    return [folder / name for name in names]
