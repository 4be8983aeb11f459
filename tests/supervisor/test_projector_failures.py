"""Failures of projectors hold for one file and one version, until they are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.supervisor import projector_failures
from localrun.supervisor.projector_failures import MAX_REASON, ProjectorFailures

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def projector(tmp_path: Path) -> Path:
    path = tmp_path / "mmproj.gguf"
    path.write_bytes(b"GGUF")
    return path


@pytest.fixture
def failures(tmp_path: Path) -> ProjectorFailures:
    return ProjectorFailures(tmp_path / "state" / "failures.json")


def test_a_failure_is_remembered_by_another_process(
    failures: ProjectorFailures, projector: Path, tmp_path: Path
) -> None:
    failures.add(projector, "killed by SIGABRT")

    other = ProjectorFailures(tmp_path / "state" / "failures.json")

    assert other.reason(projector) == "killed by SIGABRT"
    assert other.reason(tmp_path / "another.gguf") is None


def test_another_file_or_version_is_tried(
    failures: ProjectorFailures, projector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures.add(projector, "killed by SIGABRT")
    with monkeypatch.context() as patched:
        patched.setattr(projector_failures, "__version__", "0.0.1")
        assert failures.reason(projector) is None

    projector.write_bytes(b"GGUF of another size")

    assert failures.reason(projector) is None


def test_failures_are_forgotten_one_by_one_or_all(
    failures: ProjectorFailures, projector: Path, tmp_path: Path
) -> None:
    others = [tmp_path / "a.gguf", tmp_path / "b.gguf"]
    for path in (projector, *others):
        path.write_bytes(b"GGUF")
        failures.add(path, "killed by SIGABRT")

    failures.forget([projector])
    assert [failures.reason(path) is None for path in (projector, *others)] == [True, False, False]

    failures.forget()
    assert all(failures.reason(path) is None for path in others)


@pytest.mark.parametrize("content", ["", "[]", '{"format_version": 2}', '{"format_version": 1}'])
def test_an_unreadable_file_counts_as_empty(
    failures: ProjectorFailures, projector: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "failures.json").write_text(content)

    assert failures.reason(projector) is None
    failures.add(projector, "x" * 2 * MAX_REASON)
    assert failures.reason(projector) == "x" * MAX_REASON
