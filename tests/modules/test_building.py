"""Packages of backends: what is checked before and after a compilation, without compiling."""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import tarfile
import urllib.request
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import environment
import pytest
from engines import portable
from modules import building, gpu_compilers
from modules.debian import DebianPackage, unpack

from localrun.backends.package import open_package
from tests.fakes.elf_files import elf_file

if TYPE_CHECKING:
    from pathlib import Path


def archive(**files: bytes) -> bytes:
    """Return a Debian package with these files in usr/include."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./usr/include/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    text = b"!<arch>\n"
    for name, content in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
        text += header.encode() + content + b"\n" * (len(content) % 2)
    return text


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> DebianPackage:
    def open_url(_url: str, **_options: Any) -> io.BytesIO:
        return io.BytesIO(content)

    monkeypatch.setattr(urllib.request, "urlopen", open_url)
    return DebianPackage("v/x.deb", hashlib.sha256(content).hexdigest())


def test_a_package_of_debian_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = serve(monkeypatch, archive(header=b"text"))

    folder = unpack((package,), tmp_path / "debian")
    monkeypatch.setattr(urllib.request, "urlopen", None)

    assert (unpack((package,), folder) / "usr" / "include" / "header").read_bytes() == b"text"
    assert [path.name for path in tmp_path.iterdir()] == ["debian"]


def test_another_digest_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, archive(header=b"other"))

    with pytest.raises(environment.SetupError, match="digest"):
        unpack((DebianPackage("v/x.deb", "0" * 64),), tmp_path / "debian")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("backend", "missing"), [("cuda", "nvcc"), ("rocm", "hipcc")])
def test_a_missing_compiler_is_told_in_two_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, missing: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(gpu_compilers, "CUDA_PLACES", ())
    monkeypatch.setattr(gpu_compilers, "ROCM_PLACE", tmp_path)

    with pytest.raises(environment.SetupError) as caught:
        gpu_compilers.switches(backend, tmp_path)

    assert missing in str(caught.value)
    assert "\nhint: " in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="the compiler is a shell script")
def test_rocm_is_compiled_by_the_clang_that_hipconfig_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "hipconfig"
    program.write_text("#!/bin/sh\ncase $1 in -l) echo /rocm/llvm/bin;; -R) echo /rocm;; esac\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))
    monkeypatch.setenv(gpu_compilers.ARCHITECTURES_VARIABLE, "gfx1100")

    switches = gpu_compilers.switches("rocm", tmp_path)

    assert switches["CMAKE_HIP_COMPILER"] == "/rocm/llvm/bin/clang"
    assert switches["CMAKE_PREFIX_PATH"] == "/rocm"
    assert switches["AMDGPU_TARGETS"] == "gfx1100"
    assert "-rpath,/opt/rocm/lib" in switches["CMAKE_MODULE_LINKER_FLAGS"]


def test_a_package_names_what_its_library_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "llama_cpp_python-0.3.36"
    ggml = sources / "vendor" / "llama.cpp" / "ggml"
    ggml.mkdir(parents=True)
    ggml.with_name("LICENSE").write_text("MIT")
    parts = ("MAJOR 0", "MINOR 25", "PATCH 3")
    (ggml / "CMakeLists.txt").write_text("".join(f"set(GGML_VERSION_{part})\n" for part in parts))
    library = tmp_path / "build" / "bin" / "libggml-vulkan.so"
    library.parent.mkdir(parents=True)
    content = elf_file(
        ("libggml-base.so.0",), versions={"libc.so.6": ("GLIBC_2.2.5", "GLIBC_2.27")}
    )
    library.write_bytes(content)
    monkeypatch.setattr(building, "compile_backend", lambda *_: (tmp_path / "build", sources))
    monkeypatch.setattr(portable, "commit", lambda _: "0c1e570")

    package = building.build(tmp_path, "vulkan", "x86_64", tmp_path / "dist")
    with open_package(package) as opened:
        manifest = opened.manifest

    assert package.name == "localrun-backend-vulkan-0.3.36-linux-x86_64.zip"
    assert (manifest.ggml, manifest.llama_cpp_commit, manifest.glibc) == (
        "0.25.3",
        "0c1e570",
        "2.27",
    )
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    assert package.with_name(f"{package.name}.sha256").read_text() == f"{digest}  {package.name}\n"


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ("$ORIGIN:/usr/local/cuda/lib64", None),
        ("$ORIGIN:/home/me/.cache/localrun/engine/vulkan", "searches folders of this machine"),
    ],
)
def test_a_library_searches_no_folder_of_the_machine_that_built_it(
    search: str, problem: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "bin" / "libggml-cuda.so"
    library.parent.mkdir()
    library.write_bytes(elf_file(("libggml-base.so.0",), search=search))
    monkeypatch.setattr(building, "compile_backend", lambda *_: (tmp_path, tmp_path))
    monkeypatch.setattr(building, "_pack", lambda *_: library)

    with pytest.raises(environment.SetupError, match=problem) if problem else nullcontext():
        building.build(tmp_path, "cuda", "x86_64", tmp_path / "dist")
