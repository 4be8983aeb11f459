"""The converter's archive: packing, finding, and damaged ones."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from localrun.convert.upstream import component
from localrun.convert.upstream.component import find_component, open_component, pack
from localrun.errors import IntegrityError
from tests.convert.upstream.fakes import TABLES, fake_component

TOP = "llama_cpp_python-0.3.36/vendor/llama.cpp"
FILES = {
    f"{TOP}/convert_hf_to_gguf.py": b"main()",
    f"{TOP}/conversion/__init__.py": TABLES.encode(),
    f"{TOP}/conversion/llama.py": b"x",
    f"{TOP}/gguf-py/gguf/constants.py": b"y",
    f"{TOP}/gguf-py/tests/test_x.py": b"no",
    f"{TOP}/src/llama.cpp": b"no",
    f"{TOP}/conversion/../../../../evil.py": b"no",
}
LOCK = Path(__file__).parents[3] / "scripts" / "locks" / "engine.txt"


def sources(files: dict[str, bytes]) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    return packed


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    pack(sources(FILES), first)
    pack(sources(dict(reversed(FILES.items()))), second)

    assert first.getvalue() == second.getvalue()
    with zipfile.ZipFile(first) as archive:
        assert archive.namelist() == [
            "conversion/__init__.py", "conversion/llama.py", "convert_hf_to_gguf.py",
            "gguf/constants.py",
        ]  # fmt: skip
    path = tmp_path / "x.zip"
    path.write_bytes(first.getvalue())
    found = open_component(path)
    assert found.converts(["Other", "FakeForCausalLM"])
    assert not found.converts(["Other"])
    assert found.has_projector(["SeeingModel"])


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", sources({"a": b""}).getvalue()],
    ids=["empty", "text", "without a converter"],  # the archive has the time in its bytes
)
def test_damaged_sources_are_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"damaged|no converter"):
        pack(io.BytesIO(content), io.BytesIO())


def test_a_huge_member_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "MAX_MEMBER_BYTES", 3)

    with pytest.raises(IntegrityError, match="too large"):
        pack(sources(FILES), io.BytesIO())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04"])
def test_a_damaged_component_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)

    with pytest.raises(IntegrityError, match=r"not llama\.cpp's converter"):
        find_component({component.VARIABLE: str(path)})


def test_code_in_the_table_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversion/__init__.py", "TEXT_MODEL_MAP: dict = exit(3)")

    with pytest.raises(IntegrityError):
        open_component(path)


def test_the_variable_is_asked_first(tmp_path: Path) -> None:
    made = fake_component(tmp_path)

    assert find_component({component.VARIABLE: str(made.path)}) == made


def test_the_pinned_sources_are_those_of_the_lock_file() -> None:
    match = re.search(r"llama-cpp-python==(\S+) --hash=(sha256):(\S+)", LOCK.read_text())

    assert match is not None
    assert match[1] == component.VERSION
    assert f"{match[2]}:{match[3]}" == component.SOURCES_DIGEST
