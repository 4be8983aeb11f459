"""The binary as an image has it: unpacked by itself, with its launcher cut down to what is needed.

    launcher | payload | facts | trailer        the binary (scripts/launcher/program.c)
    launcher | facts | trailer                  in the image, beside the tree of the same key

The launcher finds the tree by the digest of the payload, which the trailer has, so that the image
does not carry everything twice.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import environment
from packing.payload import HEAD, MAGIC, TRAILER_BYTES, ending

if TYPE_CHECKING:
    from pathlib import Path

UNPACK_VARIABLE = "LOCALRUN_UNPACK"
KEY_CHARS = 32


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An unpacked binary."""

    launcher: bytes
    key: str  # name of the tree's folder
    tree: Path


def unpack_binary(binary: Path, folder: Path) -> Unpacked | None:
    """Return the binary unpacked into the folder, None if the file has nothing to unpack.

    Raises:
        SetupError: the binary does not run here.
    """
    data = binary.read_bytes()
    trailer = data[-TRAILER_BYTES:]
    if not trailer.startswith(MAGIC):
        return None
    _, start, size, num_unpacked, facts_size, digest = HEAD.unpack_from(trailer)
    facts = data[start + size : start + size + facts_size]
    launcher = data[:start] + ending(facts, start, 0, num_unpacked, digest)
    key = digest.hex()[:KEY_CHARS]
    _run(binary, folder)
    if not (folder / key).is_dir():
        raise environment.SetupError(f"{binary} did not unpack itself into {folder / key}")
    return Unpacked(launcher, key, folder / key)


def _run(binary: Path, folder: Path) -> None:
    variables = os.environ | {UNPACK_VARIABLE: str(folder), "LOCALRUN_WARM": "0"}
    try:
        done = subprocess.run(
            [binary.absolute(), "version"],
            check=False,
            capture_output=True,
            text=True,
            env=variables,
        )
    except OSError as error:
        raise environment.SetupError(
            f"{binary} does not run here: {error.strerror}\n"
            "hint: build an image on a machine with the processor of the binary"
        ) from error
    if done.returncode != 0:
        raise environment.SetupError(f"{binary} failed here:\n{done.stderr.strip()}")
