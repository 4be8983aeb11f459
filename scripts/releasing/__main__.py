"""Build all files of a release from a clean commit, into dist/release-VERSION.

scripts/release                                  everything, after scripts/check and scripts/test
scripts/release --skip checks,engine,backends,binary,image      what needs no compiler
scripts/release --engine WHEEL --backend ZIP --binary FILE      with parts that were built before
scripts/release --twice                          repeats python, image and sbom in a copy of the
                                                 commit elsewhere, and compares the bytes

The files are not signed: their digests are in SHA256SUMS, which a signature would cover.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import environment

from releasing.checkout import read_checkout, require_releasable
from releasing.steps import STEPS, Release
from releasing.sums import write_sums

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

REPEATED = ("python", "image", "sbom")  # made here; the others are made by scripts of their own


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a release and print its files."""
    options = _parser().parse_args(arguments)
    skipped = _skipped(options.skip)
    checkout = read_checkout()
    require_releasable(checkout)
    folder = options.output or environment.ROOT / "dist" / f"release-{checkout.version}"
    _empty(folder)
    release = Release(
        checkout=checkout,
        folder=folder,
        engine=options.engine,
        backends=options.backend,
        binary=options.binary,
    )
    _build(release, skipped)
    if options.twice:
        _build_again(release, skipped)
    _report(folder, skipped)
    return 0


def _build(release: Release, skipped: Collection[str]) -> None:
    for name, step in STEPS.items():
        if name not in skipped:
            environment.say(f"{name} ...")
            step(release)
    write_sums(release.folder)


def _build_again(release: Release, skipped: Collection[str]) -> None:
    """Repeat the steps of this package in a copy of the commit, and compare the bytes.

    Raises:
        SetupError: a file differs.
    """
    mask = os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="localrun-again-") as scratch:
        copy, folder = Path(scratch, "copy"), Path(scratch, "release")
        clone = ["git", "clone", "--quiet", release.checkout.root, copy]
        subprocess.run(clone, check=True)
        folder.mkdir()
        again = replace(release, checkout=replace(release.checkout, root=copy), folder=folder)
        if release.binary is not None:
            again.binary = Path(shutil.copy(release.binary, folder))
        for name in REPEATED:
            if name not in skipped:
                environment.say(f"{name}, again ...")
                STEPS[name](again)
        differing = [path.name for path in folder.iterdir() if _differs(path, release.folder)]
    os.umask(mask)
    if differing:
        raise environment.SetupError(f"a second build made other bytes: {', '.join(differing)}")
    environment.say("the second build made the same bytes")


def _differs(path: Path, folder: Path) -> bool:
    return path.read_bytes() != (folder / path.name).read_bytes()


def _report(folder: Path, skipped: Collection[str]) -> None:
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size / 1e6:9.1f} MB  {path}")
    if skipped:
        environment.say(f"not made, as --skip says: {', '.join(sorted(skipped))}")


def _skipped(names: str) -> frozenset[str]:
    skipped = frozenset(filter(None, names.split(",")))
    if skipped - STEPS.keys():
        unknown = ", ".join(sorted(skipped - STEPS.keys()))
        raise environment.SetupError(f"--skip: there is no {unknown}\nhint: {','.join(STEPS)}")
    return skipped


def _empty(folder: Path) -> None:
    """Make an empty folder in place of an earlier release; refuse to remove anything else."""
    if folder.is_dir() and any(folder.iterdir()):
        if not any(folder.glob("localrun-*")):
            raise environment.SetupError(f"{folder} is no release\nhint: another --output")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--skip", default="", help=f"of {','.join(STEPS)}")
    parser.add_argument("--engine", type=Path, help="a wheel of scripts/build-engine")
    parser.add_argument("--backend", type=Path, action="append", default=[], help="a package")
    parser.add_argument("--binary", type=Path, help="a file of scripts/build-binary")
    parser.add_argument("-o", "--output", type=Path, help="folder (dist/release-VERSION)")
    parser.add_argument("--twice", action="store_true", help="build again, and compare")
    return parser
