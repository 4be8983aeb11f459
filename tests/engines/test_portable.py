"""The portable engine: what its libraries must not depend on, without compiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import environment
import pytest
from engines import portable

from tests.fakes.elf_files import elf_file

if TYPE_CHECKING:
    from pathlib import Path


def libraries(folder: Path, search: str) -> dict[str, Path]:
    """Return a library for each processor, of which the last one has the search path."""
    names = [f"libggml-cpu-{number}.so" for number in range(portable.NUM_VARIANTS["x86_64"])]
    files = {name: folder / name for name in names}
    for file in files.values():
        file.write_bytes(elf_file(search="$ORIGIN"))
    files[names[-1]].write_bytes(elf_file(search=search))
    return files


def test_libraries_search_no_folder_of_the_machine_that_built_them(tmp_path: Path) -> None:
    portable.check(libraries(tmp_path, "$ORIGIN"), "x86_64")

    with pytest.raises(environment.SetupError, match=r"searches /home/me/x86_64/bin"):
        portable.check(libraries(tmp_path, "/home/me/x86_64/bin"), "x86_64")
