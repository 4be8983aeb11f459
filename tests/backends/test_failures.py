from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.backends.failures import FAILED_LIBRARIES, RememberedFailures

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "libggml-cuda.so"
    path.write_bytes(b"broken")
    return path


def test_a_failure_is_remembered_until_the_library_changes(tmp_path: Path, library: Path) -> None:
    file = tmp_path / "state" / "failures.json"
    RememberedFailures({}, file).add("cuda", library, "was killed by SIGSEGV")

    again = RememberedFailures({}, file)

    assert again.reason("cuda", library) == "was killed by SIGSEGV"
    assert again.reason("vulkan", library) is None
    library.write_bytes(b"repaired")
    assert again.reason("cuda", library) is None


def test_a_failure_is_remembered_until_the_drivers_change(tmp_path: Path, library: Path) -> None:
    drivers, file = tmp_path / "drivers", tmp_path / "failures.json"
    drivers.mkdir()
    (drivers / "libcuda.so.1").write_bytes(b"old")
    failures = RememberedFailures({"LD_LIBRARY_PATH": str(drivers)}, file)
    failures.add("cuda", library, "took more than 20 s")

    assert failures.reason("cuda", library) is not None
    (drivers / "libcuda.so.1").write_bytes(b"newer")

    assert failures.reason("cuda", library) is None


def test_failures_of_two_backends_are_kept_and_forgotten_together(
    tmp_path: Path, library: Path
) -> None:
    failures = RememberedFailures({}, tmp_path / "failures.json")
    failures.add("cuda", library, "a")
    failures.add("rocm", library, "b")

    assert [failures.reason(name, library) for name in ("cuda", "rocm")] == ["a", "b"]
    failures.forget()
    failures.forget()

    assert failures.reason("cuda", library) is None


@pytest.mark.parametrize("text", ["", "7", "{}", '{"format_version": 1, "failures": {"cuda": 7}}'])
def test_an_unreadable_file_counts_as_empty(tmp_path: Path, library: Path, text: str) -> None:
    file = tmp_path / "failures.json"
    file.write_text(text)
    failures = RememberedFailures({}, file)

    assert failures.reason("cuda", library) is None
    failures.add("cuda", library, "why")
    assert failures.reason("cuda", library) == "why"


def test_a_folder_that_cannot_be_written_costs_the_memory_alone(
    tmp_path: Path, library: Path
) -> None:
    (tmp_path / "file").touch()
    failures = RememberedFailures({}, tmp_path / "file" / "failures.json")

    failures.add("cuda", library, "why")

    assert failures.reason("cuda", library) is None


def test_libraries_that_failed_in_this_probe_need_no_file(tmp_path: Path, library: Path) -> None:
    environ = {FAILED_LIBRARIES: f"/other.so\tx\n{library}\twas killed by SIGABRT"}

    reason = RememberedFailures(environ, tmp_path / "none").reason("cuda", library)

    assert reason == "was killed by SIGABRT"
