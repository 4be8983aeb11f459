"""Component of llama.cpp's own converter: its Python modules as an archive beside the wheel.

The layout is described in localrun/convert/upstream/component.py, whose `pack` makes the same
bytes from the archive of the sources.
"""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from pathlib import Path

PATTERN = "llama-cpp-converter-*.zip"
EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(sources: Path, output: Path) -> Path:
    """Write the component of unpacked sources of llama-cpp-python; return its path."""
    llama = sources / "vendor" / "llama.cpp"
    files = {path.name: path for path in (llama / "convert_hf_to_gguf.py", llama / "LICENSE")}
    for folder in (llama / "conversion", llama / "gguf-py" / "gguf"):
        files |= {f"{folder.name}/{path.name}": path for path in folder.glob("*.py")}
    version = sources.name.rpartition("-")[2]
    target = output / PATTERN.replace("*", version)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, EPOCH)
            archive.writestr(info, files[name].read_bytes(), zipfile.ZIP_DEFLATED)
    return target


def install_beside(wheel: Path) -> None:
    """Install the component that lies beside an installed wheel, if there is one."""
    for file in wheel.parent.glob(PATTERN):
        folder = environment.VENV / "share" / "localrun"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file.name)
