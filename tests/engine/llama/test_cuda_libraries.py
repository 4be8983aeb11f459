from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from localrun.engine.llama.cuda_libraries import is_linked_with_cuda, open_cuda_runtime

if TYPE_CHECKING:
    from pathlib import Path

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def library(path: Path) -> None:
    """Make a library that stands for one of NVIDIA's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["cc", "-shared", "-x", "c", "-o", str(path), f"-Wl,-soname,{path.name}", "-"]
    subprocess.run(command, check=True, input=b"int unused;")


@needs_compiler
def test_the_libraries_that_pip_installed_are_opened_in_the_order_of_their_needs(
    tmp_path: Path,
) -> None:
    (tmp_path / "libggml-cuda.so").touch()
    library(tmp_path / "site" / "nvidia" / "cu99" / "lib" / "libcublas.so.99")
    library(tmp_path / "site" / "nvidia" / "cu99" / "lib" / "libcudart.so.99")
    (tmp_path / "site" / "nvidia" / "cu99" / "lib" / "libcublasLt.so.99").write_text("damaged")

    opened = open_cuda_runtime(
        tmp_path / "libggml-cuda.so", ["", str(tmp_path / "site"), "/nonexistent"]
    )

    assert opened == ["libcudart.so.99", "libcublas.so.99"]


@needs_compiler
def test_of_several_versions_the_one_that_the_backend_needs_is_opened(tmp_path: Path) -> None:
    (tmp_path / "libggml-cuda.so").write_bytes(b"ELF\0libcudart.so.99\0libcublas.so.99\0")
    library(tmp_path / "site" / "nvidia" / "cuda_runtime" / "lib" / "libcudart.so.98")
    library(tmp_path / "nvidia" / "cu99" / "lib" / "libcudart.so.99")  # by pip install --target

    opened = open_cuda_runtime(tmp_path / "libggml-cuda.so", [str(tmp_path / "site")])

    assert opened == ["libcudart.so.99"]


def test_a_build_without_cuda_opens_nothing(tmp_path: Path) -> None:
    file = tmp_path / "nvidia" / "cu99" / "lib" / "libcudart.so.99"
    file.parent.mkdir(parents=True)
    file.touch()

    assert open_cuda_runtime(tmp_path / "lib" / "libggml-cuda.so", [str(tmp_path)]) == []


@needs_compiler
@pytest.mark.parametrize("is_linked", [True, False])
def test_the_libraries_are_opened_early_only_for_a_build_that_is_linked_with_them(
    tmp_path: Path, *, is_linked: bool
) -> None:
    library(tmp_path / "libggml-cuda.so.0")
    needed = ["-Wl,--no-as-needed", str(tmp_path / "libggml-cuda.so.0")] if is_linked else []
    target = ["-o", str(tmp_path / "libggml.so.0")]
    subprocess.run(
        ["cc", "-shared", "-x", "c", "-", "-x", "none", *needed, *target], check=True, input=b""
    )

    assert is_linked_with_cuda(tmp_path) is is_linked
