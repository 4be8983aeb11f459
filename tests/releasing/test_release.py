"""The release: what is made, what is skipped and said to be, and the same bytes twice."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import environment
import pytest
from releasing import __main__ as program
from releasing import steps
from releasing.checkout import Checkout, read_checkout
from releasing.distributions import build_distributions
from releasing.steps import Release
from releasing.sums import write_sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from container.config import Origin, Variant

CHECKOUT = Checkout(Path(), "1.2.3", "a" * 40, 1_700_000_000)
ALL = "checks,python,engine,backends,binary,image,sbom"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the steps that a release takes; each makes a file of its name."""
    names: list[str] = []

    def fake(name: str) -> Callable[[Release], None]:
        def step(release: Release) -> None:
            names.append(name)
            (release.folder / f"localrun-{name}").write_text(name)

        return step

    monkeypatch.setattr(program, "STEPS", {name: fake(name) for name in steps.STEPS})
    monkeypatch.setattr(program, "read_checkout", lambda: CHECKOUT)
    monkeypatch.setattr(program, "require_releasable", lambda _: None)
    return names


def test_a_release_takes_every_step_but_those_that_are_skipped(
    made: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--skip", "engine,image", "--output", str(tmp_path / "out")]) == 0

    assert made == ["checks", "python", "backends", "binary", "sbom"]
    assert "not made, as --skip says: engine, image" in capsys.readouterr().err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"localrun-{name}" for name in made} | {"SHA256SUMS"}


def test_an_unknown_step_is_named(made: list[str], tmp_path: Path) -> None:
    with pytest.raises(environment.SetupError, match="there is no engin"):
        program.main(["--skip", "engin", "--output", str(tmp_path / "out")])

    assert made == []


def test_a_release_replaces_a_release_and_nothing_else(made: list[str], tmp_path: Path) -> None:
    (tmp_path / "photo").touch()

    with pytest.raises(environment.SetupError, match="no release"):
        program.main(["--output", str(tmp_path)])
    program.main(["--output", str(tmp_path / "out")])
    program.main(["--skip", "image", "--output", str(tmp_path / "out")])

    assert (tmp_path / "photo").exists()
    assert not (tmp_path / "out" / "localrun-image").exists()
    assert made.count("image") == 1


def test_an_image_needs_a_binary(tmp_path: Path) -> None:
    release = Release(checkout=CHECKOUT, folder=tmp_path)

    with pytest.raises(environment.SetupError, match="--binary FILE"):
        steps.build_images(release)


@pytest.mark.parametrize(
    ("backends", "images"), [([], ["cpu"]), ([Path("vulkan.zip")], ["cpu", "vulkan"])]
)
def test_a_binary_without_backends_makes_no_image_for_them(
    backends: list[Path], images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def image_of(_binary: Path, _target: Path, variant: Variant, _origin: Origin) -> None:
        made.append(variant.name)

    monkeypatch.setattr(steps, "_run", lambda *_words: None)
    monkeypatch.setattr(steps, "image_of", image_of)
    release = Release(checkout=CHECKOUT, folder=tmp_path, backends=backends)

    steps.build_binary(release)
    steps.build_images(release)

    assert made == images


def test_parts_that_were_built_before_are_taken(tmp_path: Path) -> None:
    given = {name: tmp_path / name for name in ("engine.whl", "vulkan.zip", "binary")}
    for path in given.values():
        path.write_text(path.name)
    (tmp_path / "out").mkdir()
    release = Release(
        checkout=CHECKOUT,
        folder=tmp_path / "out",
        engine=given["engine.whl"],
        backends=[given["vulkan.zip"]],
        binary=given["binary"],
    )

    for name in ("engine", "backends", "binary"):
        steps.STEPS[name](release)

    contents = {path.read_text() for path in (tmp_path / "out").iterdir()}
    assert contents == {"engine.whl", "vulkan.zip", "binary"}
    assert release.binary is not None
    assert release.binary.name.startswith("localrun-1.2.3-")


def test_the_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)

    write_sums(tmp_path)
    write_sums(tmp_path)

    digests = [hashlib.sha256(name.encode()).hexdigest() for name in ("a", "b")]
    text = (tmp_path / "SHA256SUMS").read_text()
    assert text == f"{digests[0]}  a\n{digests[1]}  b\n"


def test_the_same_commit_makes_the_same_bytes_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = environment.VENV / "build-tools"
    if not (tools / ".installed").is_file():
        pytest.skip("the first setup by scripts/quickstart installs the tools of builds")
    if not (environment.ROOT / ".git").exists():
        pytest.skip("needs a checkout of git")
    here = read_checkout()
    sums = []
    for name, mask, zone in (("one", 0o022, "UTC"), ("another", 0o077, "Asia/Tokyo")):
        old = os.umask(mask)
        copy = tmp_path / name / "copy"
        subprocess.run(["git", "clone", "--quiet", here.root, copy], check=True)
        monkeypatch.setenv("TZ", zone)
        checkout = Checkout(copy, here.version, here.revision, here.time_s)
        build_distributions(checkout, tmp_path / name / "out", {"PYTHONPATH": str(tools)})
        sums.append(write_sums(tmp_path / name / "out").read_text())
        os.umask(old)

    assert sums[0] == sums[1]
    assert sums[0].count("localrun-") == 2
