from __future__ import annotations

import json
from typing import Any

import pytest

from localrun.backends.manifest import (
    EngineBuild,
    ModuleManifest,
    glibc_version,
    why_not_engine,
    why_not_machine,
)
from localrun.errors import IntegrityError
from tests.backends.modules import manifest_of

ENGINE = EngineBuild(llama_cpp_python="0.3.36", ggml="0.25.3", commit="0c1e570-dirty")


def test_a_manifest_is_read_as_it_was_written() -> None:
    manifest = manifest_of("vulkan")

    assert ModuleManifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"backend": "../../x"},
        {"library": "../libggml-vulkan.so"},
        {"library": "run.sh"},
        {"sha256": "3f"},
        {"size_bytes": 0},
        {"size_bytes": True},
        {"size_bytes": 1 << 60},
        {"glibc": "x"},
        {"ggml": None},
    ],
)
def test_a_manifest_of_another_form_is_refused(change: dict[str, object]) -> None:
    content = json.loads(manifest_of("vulkan").to_json()) | change

    with pytest.raises(IntegrityError, match="manifest"):
        ModuleManifest.from_json(json.dumps(content))


@pytest.mark.parametrize("text", ["", "7", "[]", "[" * 100_000])
def test_a_text_that_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        ModuleManifest.from_json(text)


@pytest.mark.parametrize(
    ("commit", "engine", "fits"),
    [
        ("0c1e57098", "0c1e570-dirty", True),
        ("0c1e57098bba43ac", "0c1e57098", True),
        ("0c1e57098", "unknown", True),  # then the versions decide
        ("unknown", "0c1e570", True),
        ("4df29be4f", "0c1e570-dirty", False),
        ("4df29be4f", "unknown", True),
    ],
)
def test_a_module_fits_its_own_commit(commit: str, engine: str, *, fits: bool) -> None:
    manifest = manifest_of("vulkan", llama_cpp_commit=commit)
    build = EngineBuild(llama_cpp_python="0.3.36", ggml="0.25.3", commit=engine)

    reason = why_not_engine(manifest, build)

    assert (reason is None) is fits, reason
    assert fits or "4df29be4f" in (reason or "")


@pytest.mark.parametrize("other", [{"ggml": "0.25.2"}, {"llama_cpp_python": "0.3.35"}])
def test_versions_decide_if_a_build_does_not_know_its_commit(other: dict[str, Any]) -> None:
    manifest = manifest_of("vulkan", llama_cpp_commit="unknown", **other)

    reason = why_not_engine(manifest, ENGINE) or ""

    assert next(iter(other.values())) in reason
    assert "0.3.36" in reason


def test_a_module_of_another_machine_or_a_newer_glibc_does_not_run_here() -> None:
    assert why_not_machine(manifest_of("vulkan")) is None
    assert "win32-x86_64" in (why_not_machine(manifest_of("cuda", platform="win32-x86_64")) or "")
    if glibc_version():
        assert "glibc 9.1" in (why_not_machine(manifest_of("vulkan", glibc="9.1")) or "")
