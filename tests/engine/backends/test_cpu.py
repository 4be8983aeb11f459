"""Choice of the CPU's variant, in a folder of files whose scores are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.engine.backends import cpu
from localrun.engine.llama import ggml
from localrun.engine.llama.library import start
from localrun.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

LINKED = ["libggml-base.so.0", "libggml.so", "libllama.so", "libggml-vulkan.so"]

# variants of ggml for Linux on ARM: what they need of the processor, and what that adds to a score
ARM = {
    "armv8.0_1": (),
    "armv8.2_1": ("dotprod",),
    "armv8.2_2": ("dotprod", "fp16"),
    "armv8.2_3": ("dotprod", "fp16", "sve"),
    "armv8.6_1": ("dotprod", "fp16", "sve", "i8mm"),
    "armv8.6_2": ("dotprod", "fp16", "sve", "i8mm", "sve2"),
    "armv9.2_1": ("dotprod", "fp16", "sve", "i8mm", "sme"),
    "armv9.2_2": ("dotprod", "fp16", "sve", "i8mm", "sve2", "sme"),
}
ARM_SCORES = {"dotprod": 2, "fp16": 4, "sve": 8, "i8mm": 16, "sve2": 32, "sme": 64}


class Folder:
    """llama.cpp's folder; notes which files are scored and loaded."""

    def __init__(self, path: Path) -> None:
        self.path, self.scores = path, dict[str, int]()
        self.scored, self.loaded = list[str](), list[str]()
        for name in LINKED:
            (path / name).touch()

    def add(self, variant: str, score: int) -> None:
        name = f"libggml-cpu-{variant}.so" if variant else "libggml-cpu.so"
        (self.path / name).touch()
        self.scores[name] = score

    def score(self, file: Path) -> int:
        self.scored.append(file.name)
        return self.scores[file.name]

    def load(self, file: Path) -> int:
        self.loaded.append(file.name)
        return 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    folder = Folder(tmp_path)
    monkeypatch.setattr(ggml, "library_folder", lambda: tmp_path)
    monkeypatch.setattr(ggml, "backend_names", lambda: ["cpu"] if folder.loaded else [])
    monkeypatch.setattr(ggml, "load_module", folder.load)
    monkeypatch.setattr(cpu, "_score", folder.score)
    return folder


def test_the_first_variant_that_runs_is_loaded_and_no_worse_one_is_opened(folder: Folder) -> None:
    for variant, score in {"x64": 1, "haswell": 64, "zen4": 0, "sapphirerapids": 0}.items():
        folder.add(variant, score)

    cpu.load_cpu()

    assert folder.loaded == ["libggml-cpu-haswell.so"]
    assert "libggml-cpu-x64.so" not in folder.scored


def test_variants_of_unknown_names_are_compared_by_score(folder: Folder) -> None:
    for variant, score in {"power0": 1, "power9": 7, "power10": 0}.items():
        folder.add(variant, score)

    cpu.load_cpu()

    assert folder.loaded == ["libggml-cpu-power9.so"]


@pytest.mark.parametrize(
    ("processor", "best"),
    [
        ("", "armv8.0_1"),  # Raspberry Pi 4
        ("dotprod", "armv8.2_1"),
        ("dotprod fp16", "armv8.2_2"),  # Raspberry Pi 5, Graviton 2
        ("dotprod fp16 i8mm", "armv8.2_2"),
        ("dotprod fp16 sve", "armv8.2_3"),
        ("dotprod fp16 sve i8mm", "armv8.6_1"),  # Graviton 3
        ("dotprod fp16 sve i8mm sve2", "armv8.6_2"),  # Graviton 4, Grace
        ("dotprod fp16 sve i8mm sve2 sme", "armv9.2_2"),
    ],
)
def test_the_best_variant_of_arm_is_the_only_one_that_is_opened_and_runs(
    processor: str, best: str, folder: Folder
) -> None:
    features = set(processor.split())
    for variant, needed in ARM.items():
        is_usable = features.issuperset(needed)
        folder.add(variant, 1 + sum(ARM_SCORES[name] for name in needed) if is_usable else 0)

    cpu.load_cpu()

    assert folder.loaded == [f"libggml-cpu-{best}.so"]
    assert folder.scored[-1] == max(folder.scores, key=lambda name: folder.scores[name])
    assert [name for name in folder.scored if folder.scores[name]] == folder.loaded


def test_a_build_for_one_processor_has_one_file(folder: Folder) -> None:
    folder.add("", 0)

    cpu.load_cpu()

    assert folder.loaded == ["libggml-cpu.so"]


def test_a_variant_can_be_forced(folder: Folder) -> None:
    for variant in ("x64", "haswell"):
        folder.add(variant, 1)

    cpu.load_cpu("x64")

    assert folder.loaded == ["libggml-cpu-x64.so"]


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [("zen4", "this processor cannot run it"), ("zen9", "llama.cpp has no such variant")],
)
def test_a_variant_that_cannot_be_loaded_is_one_error(
    wanted: str, problem: str, folder: Folder
) -> None:
    for variant, score in {"x64": 1, "haswell": 64, "zen4": 0}.items():
        folder.add(variant, score)

    with pytest.raises(BackendError) as caught:
        cpu.load_cpu(wanted)

    assert caught.value.message == f"LOCALRUN_CPU_VARIANT is {wanted}, and {problem}"
    assert (caught.value.hint or "").endswith("with one of: haswell, x64")
    assert folder.loaded == []


def test_a_folder_without_a_backend_is_a_damaged_package(folder: Folder) -> None:
    folder.add("haswell", 0)

    with pytest.raises(BackendError, match="damaged"):
        cpu.load_cpu()


def test_the_variant_of_this_process_is_known() -> None:
    start(backends=())
    variant = cpu.loaded_variant()

    cpu.load_cpu(variant or "")
    with pytest.raises(BackendError, match=r"no such variant"):
        cpu.load_cpu("another")

    assert (variant is not None) == any(
        cpu.FILE.fullmatch(file.name) for file in ggml.library_folder().iterdir()
    )
