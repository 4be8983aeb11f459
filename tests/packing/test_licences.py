"""Licences in the binary: each library in a wheel has one, and no text replaces another."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING

import environment
import pytest
from packing.licences import copy_texts, library_rows, package_row

if TYPE_CHECKING:
    from pathlib import Path

PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
# the wheel says MIT, and has no text
WITHOUT_TEXT = {"latex2mathml"}


def wheel(folder: Path, *files: str) -> metadata.Distribution:
    """Return an installed wheel that has the files, each with its own path as content."""
    info = folder / "eyes-1.2.dist-info"
    for name in (f"{info.name}/METADATA", *files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (info / "METADATA").write_text("Name: eyes\nVersion: 1.2\nLicense-Expression: MIT\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))
    return metadata.PathDistribution(info)


def test_a_library_in_a_wheel_has_a_row_of_its_own(tmp_path: Path) -> None:
    found = wheel(
        tmp_path,
        "eyes.libs/libwebpmux-8fb1c9f6.so.3.1.2",
        "eyes.libs/libwebp-51b0b3f7.so.7.2.0",
        "eyes/_c.cpython-313-x86_64-linux-gnu.so",
        "eyes/_r.abi3.so",
        "eyes/notes.sources",
    )

    rows = {row["name"]: (row["version"], row["license"]) for row in library_rows(found)}

    licence = ("eyes 1.2", "BSD-3-Clause")
    assert rows == {"libwebp": licence, "libwebpmux": licence}


@pytest.mark.parametrize("name", ["libnew.so", "libnew-1a2b.so.4.5", "libwebpnew.so", "new.so"])
def test_a_library_whose_licence_is_not_known_ends_the_build(tmp_path: Path, name: str) -> None:
    found = wheel(tmp_path, f"eyes.libs/{name}")

    with pytest.raises(environment.SetupError, match=rf"eyes 1\.2 carries {re.escape(name)}"):
        library_rows(found)


def test_texts_keep_their_paths_in_the_wheel(tmp_path: Path) -> None:
    info = "eyes-1.2.dist-info"
    texts = (f"{info}/LICENSE", f"{info}/licenses/a/LICENSE", f"{info}/licenses/a/pdfium.txt")
    others = ("eyes/license.py", "eyes/libc.so", f"{info}/RECORDS", "eyes/data/licenses/x.txt")
    found = wheel(tmp_path / "site", *texts, "eyes/c/COPYING", *others)

    copy_texts(found, tmp_path / "eyes")

    copied = [path for path in sorted((tmp_path / "eyes").rglob("*")) if path.is_file()]
    assert {
        path.relative_to(tmp_path / "eyes").as_posix(): path.read_text() for path in copied
    } == {
        "LICENSE": f"{info}/LICENSE",
        "eyes/c/COPYING": "eyes/c/COPYING",
        "licenses/a/LICENSE": f"{info}/licenses/a/LICENSE",
        "licenses/a/pdfium.txt": f"{info}/licenses/a/pdfium.txt",
    }


def test_every_package_that_is_needed_has_licences_that_are_known(tmp_path: Path) -> None:
    names = PIN.findall((environment.LOCKS / "run.txt").read_text())
    installed = {found.name: found for found in metadata.distributions() if found.name}
    by_name = {canonical(name): found for name, found in installed.items()}
    present = {name: by_name[name] for name in map(canonical, names) if name in by_name}

    for name, found in present.items():
        library_rows(found)  # each of its libraries
        copy_texts(found, tmp_path / name)

    assert len(present) > 50
    assert [name for name, found in present.items() if not package_row(found)["license"]] == []
    without = {name for name in present if not (tmp_path / name).is_dir()}
    assert without <= WITHOUT_TEXT, "look for the text, or say that there is none"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
