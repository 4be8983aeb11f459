from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from localrun.backends.folder import install, read_modules, remove
from localrun.backends.package import open_package
from localrun.errors import IntegrityError, NotFoundError, StorageError
from tests.backends.modules import CONTENT, manifest_of, packed
from tests.hardware.vulkan import ROOT
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

INSTALLATION = """
import sys
from pathlib import Path
from localrun.backends.folder import install
from localrun.backends.package import open_package
with open_package(Path(sys.argv[1])) as package:
    for _ in range(5):
        install(package, Path(sys.argv[2]))
"""


def put(package: Path, folder: Path) -> Path:
    with open_package(package) as opened:
        return install(opened, folder).library


def test_an_installed_module_is_private_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "backends"

    library = put(packed(tmp_path, "vulkan"), folder)
    found = read_modules(folder)

    assert [module.library for module in found.modules] == [library]
    assert library.read_bytes() == CONTENT
    assert library.with_suffix(".LICENSE").read_text() == "MIT"
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}


def test_another_module_of_a_backend_takes_its_place(tmp_path: Path) -> None:
    first = put(packed(tmp_path / "1", "vulkan"), tmp_path / "b")
    newer = tmp_path / "newer"
    newer.write_bytes(b"newer")

    second = put(packed(tmp_path / "2", "vulkan", newer), tmp_path / "b")

    assert first != second
    (module,) = read_modules(tmp_path / "b").modules
    assert module.library == second


def test_a_removed_module_leaves_nothing(tmp_path: Path) -> None:
    put(packed(tmp_path, "vulkan"), tmp_path / "b")

    remove("vulkan", tmp_path / "b")

    assert list((tmp_path / "b").iterdir()) == []
    with pytest.raises(NotFoundError, match="no backend vulkan"):
        remove("vulkan", tmp_path / "b")


def test_many_processes_may_install_at_once(tmp_path: Path) -> None:
    package, folder = packed(tmp_path, "vulkan"), tmp_path / "b"
    command = [sys.executable, "-c", INSTALLATION, str(package), str(folder)]

    children = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]

    assert [child.wait(HANG_S) for child in children] == [0] * 4
    assert read_modules(folder).modules[0].library.read_bytes() == CONTENT


def test_bytes_that_are_not_those_of_the_manifest_are_refused(tmp_path: Path) -> None:
    package = tmp_path / "wrong.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("manifest.json", manifest_of("vulkan").to_json())
        archive.writestr("libggml-vulkan.so", CONTENT[::-1])

    with pytest.raises(IntegrityError, match="digest"):
        put(package, tmp_path / "b")

    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_size_than_the_manifest_states_is_refused(tmp_path: Path, size: int) -> None:
    package = tmp_path / "wrong.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("manifest.json", manifest_of("vulkan", size_bytes=size).to_json())
        archive.writestr("libggml-vulkan.so", CONTENT)

    with pytest.raises(IntegrityError, match="digest"):
        put(package, tmp_path / "b")


@pytest.mark.parametrize("members", [{}, {"manifest.json": "7"}, {"manifest.json": "x" * 400_000}])
def test_an_archive_of_something_else_is_no_backend(
    tmp_path: Path, members: dict[str, str]
) -> None:
    package = tmp_path / "other.zip"
    with zipfile.ZipFile(package, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)

    with pytest.raises(IntegrityError), open_package(package):
        pass


def test_a_file_that_is_no_archive_or_missing_is_told(tmp_path: Path) -> None:
    other = tmp_path / "libggml-vulkan.so"
    other.write_bytes(b"\x7fELF")

    with pytest.raises(IntegrityError, match="is not a backend"), open_package(other):
        pass
    with pytest.raises(NotFoundError, match="no file"), open_package(tmp_path / "missing.zip"):
        pass


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    package = packed(tmp_path, "vulkan")
    content = bytearray(package.read_bytes())
    at = content.index(b"libggml-vulkan.so") + len("libggml-vulkan.so")
    content[at + 2] ^= 0xFF
    package.write_bytes(content)

    with pytest.raises(IntegrityError):
        put(package, tmp_path / "b")


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    library = put(packed(tmp_path, "vulkan"), folder)
    folder.chmod(0o770)

    (problem,) = read_modules(folder).broken
    put(packed(tmp_path, "vulkan"), folder)  # it is ours, so its mode is corrected

    assert problem[0] == "vulkan"
    assert "other users may write" in problem[1]
    library.chmod(0o666)
    assert "other users may write" in read_modules(folder).broken[0][1]


def test_a_folder_under_one_that_all_may_write_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)

    with pytest.raises(StorageError, match="above"):
        put(packed(tmp_path, "vulkan"), shared / "b")


@pytest.mark.parametrize("text", ["", "{}", '{"format_version": 9}'])
def test_a_manifest_that_cannot_be_read_is_a_reason(tmp_path: Path, text: str) -> None:
    (tmp_path / "vulkan.json").write_text(text)

    found = read_modules(tmp_path)

    assert found.modules == ()
    assert "cannot be read" in dict(found.broken)["vulkan"]


def test_a_module_whose_library_is_missing_is_a_reason(tmp_path: Path) -> None:
    put(packed(tmp_path, "vulkan"), tmp_path / "b").unlink()

    assert "cannot be read" in dict(read_modules(tmp_path / "b").broken)["vulkan"]


def test_no_folder_has_no_modules(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert read_modules(tmp_path / "none").modules == ()
    assert read_modules(tmp_path / "file").modules == ()
