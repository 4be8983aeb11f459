from __future__ import annotations

import base64
import hashlib
import zipfile
from typing import TYPE_CHECKING

import pytest
from engines.wheel_file import Host, misfit, parse_name, write_wheel

if TYPE_CHECKING:
    from pathlib import Path

LINUX = Host("linux_x86_64", (2, 31), (3, 11))
MAC = Host("macosx_14_0_arm64", None, (3, 12))


@pytest.mark.parametrize(
    ("tag", "host", "fits"),
    [
        ("py3-none-linux_x86_64", LINUX, True),
        ("py3-none-manylinux_2_28_x86_64", LINUX, True),
        ("py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64", LINUX, True),
        ("cp311-cp311-manylinux2014_x86_64", LINUX, True),
        ("py3-none-any", LINUX, True),
        ("py3-none-manylinux_2_35_x86_64", LINUX, False),
        ("py3-none-manylinux_2_28_aarch64", LINUX, False),
        ("py3-none-musllinux_1_2_x86_64", LINUX, False),
        ("cp312-cp312-linux_x86_64", LINUX, False),
        ("py3-none-win_amd64", LINUX, False),
        ("py3-none-manylinux_2_28_x86_64", Host("linux_x86_64", None), False),
        ("py3-none-macosx_11_0_arm64", MAC, True),
        ("py3-none-macosx_11_0_universal2", MAC, True),
        ("py3-none-macosx_15_0_arm64", MAC, False),
        ("py3-none-macosx_11_0_x86_64", MAC, False),
    ],
)
def test_a_wheel_fits_by_its_tag(tag: str, host: Host, *, fits: bool) -> None:
    name = parse_name(f"llama_cpp_python-0.3.36-{tag}.whl")

    assert name is not None
    assert (misfit(name, host) is None) is fits


def test_the_local_part_of_a_version_is_the_build_and_not_the_version() -> None:
    name = parse_name("llama_cpp_python-0.3.36+cu124-1-py3-none-linux_x86_64.whl")

    assert name is not None
    assert (name.package, name.version) == ("llama-cpp-python", "0.3.36")
    assert parse_name("llama_cpp_python-0.3.36.tar.gz") is None


def test_the_same_content_has_the_same_bytes_and_a_record_of_each_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    name = "llama_cpp_python-0.3.36-py3-none-any.whl"
    files = {"llama_cpp/lib/libllama.so": b"code", "llama_cpp/__init__.py": b""}
    for folder, content in ((first, files), (second, dict(reversed(files.items())))):
        folder.mkdir()
        write_wheel(folder / name, content, metadata=b"Name: x\n", tag="py3-none-any")

    with zipfile.ZipFile(first / name) as wheel:
        record = wheel.read("llama_cpp_python-0.3.36.dist-info/RECORD").decode().splitlines()
        mode = wheel.getinfo("llama_cpp/lib/libllama.so").external_attr >> 16

    digest = base64.urlsafe_b64encode(hashlib.sha256(b"code").digest()).decode().rstrip("=")
    assert (first / name).read_bytes() == (second / name).read_bytes()
    assert f"llama_cpp/lib/libllama.so,sha256={digest},4" in record
    assert {line.split(",")[0] for line in record} == set(wheel.namelist())
    assert mode & 0o777 == 0o755
