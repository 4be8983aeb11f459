"""Lock files: everything that is installed or builds something is pinned by its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import environment
import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "scripts" / "locks"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(\[[^\]]*\])?==\S+", re.MULTILINE)
TRAINING = "train.txt"  # torch, for nobody but who trains the embedded model


@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.txt")), ids=lambda lock: lock.name)
def test_every_pin_has_a_hash(lock: Path) -> None:
    if lock.name == TRAINING:
        pytest.skip("only pins")
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text())
    pins = [entry for entry in entries if PIN.match(entry)]

    assert pins
    assert [entry for entry in pins if "--hash=sha256:" not in entry] == []


def test_what_builds_is_locked_whole() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    locked = {found[1].lower() for found in PIN.finditer((LOCKS / "build.txt").read_text())}

    assert {re.split(r"[\[>=<]", wanted)[0] for wanted in groups["build"]} <= locked
    assert '"build"' in (ROOT / "scripts" / "lock").read_text()


def test_a_build_takes_what_was_checked_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[object, ...]] = []

    def pip(*arguments: object, **_: object) -> None:
        (tmp_path / "build-tools").mkdir()
        calls.append(arguments)

    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setattr(environment, "_pip", pip)
    monkeypatch.setenv("PIP_CONSTRAINT", "/elsewhere")

    variables = environment.build_tools(Path("python"))
    again = environment.build_tools(Path("python"))

    assert len(calls) == 1
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(map(str, calls[0]))
    assert variables == again
    assert variables["PYTHONPATH"] == str(tmp_path / "build-tools")
    assert "--no-build-isolation" in environment.WITH_OUR_TOOLS
    assert "PIP_CONSTRAINT" not in environment.pip_environment()
