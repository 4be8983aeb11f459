"""Safetensors of architectures that only llama.cpp's own converter knows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.convert.upstream import component as components
from localrun.errors import NetworkError, UsageError
from localrun.gguf.header import read_header
from localrun.modelfile.parse import parse_modelfile
from localrun.names.parse import parse_name
from localrun.services.creating import converting
from localrun.services.creating.create import create_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.store.manifest import Role
from tests.convert import oracle
from tests.convert.oracle.checkpoints import weights, write_checkpoint
from tests.convert.tiny import decoder
from tests.convert.upstream.fakes import fake_component, fake_model
from tests.convert.upstream.test_component import FILES, sources
from tests.fakes.web import Reply, Request, serving
from tests.services.making import Told, entry_of, gguf

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.store.store import Entry

GOLDEN = Path(oracle.__file__).parent / "golden"
WRITES = """
kind = 'projector' if '--mmproj' in sys.argv else 'model'
output.write_bytes((folder / f'{kind}.safetensors').read_bytes())
"""


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Return the packages that are missing: none, until a test adds one."""
    missing: list[str] = []
    monkeypatch.setattr(components, "missing_packages", lambda: missing)
    monkeypatch.setattr(components, "data_folder", lambda: tmp_path / "data")
    return missing


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    known = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store")
    environ = {components.VARIABLE: str(fake_component(tmp_path, WRITES).path)}
    return Workspace(known, environ, home=tmp_path / "home")


@pytest.fixture
def made(workspace: Workspace, tmp_path: Path) -> Callable[..., tuple[Entry, Told]]:
    """Return a function that creates a model from a folder with this ``config.json``."""

    def create(**config: object) -> tuple[Entry, Told]:
        folder = fake_model(tmp_path / "folder", gguf(1))
        (folder / "projector.safetensors").write_bytes(gguf(2, 5000, "clip"))
        (folder / "config.json").write_text(json.dumps(config))
        return build(workspace, folder)

    return create


def build(workspace: Workspace, folder: Path) -> tuple[Entry, Told]:
    recipe, told = parse_modelfile(f"FROM {folder}".encode()), Told()
    create_model(workspace, parse_name("made"), recipe, folder=folder, report=told)
    return entry_of(workspace, "made"), told


def test_a_family_of_llama_cpp_becomes_a_model(made: Callable[..., tuple[Entry, Told]]) -> None:
    entry, told = made(architectures=["FakeForCausalLM"])

    assert entry.manifest.with_role(Role.WEIGHTS)[0].size_bytes == len(gguf(1))
    assert not entry.manifest.with_role(Role.PROJECTOR)
    assert "converting" in told.ended


def test_a_projector_becomes_a_layer(made: Callable[..., tuple[Entry, Told]]) -> None:
    entry, _ = made(architectures=["SeeingModel"], vision_config={})

    assert entry.manifest.with_role(Role.PROJECTOR)[0].size_bytes == 5000


def test_a_model_that_sees_needs_no_other_converter(
    workspace: Workspace, packages: list[str], tmp_path: Path
) -> None:
    packages.append("torch")
    known = json.loads((GOLDEN / "gemma3vl.json").read_text())
    folder = write_checkpoint(tmp_path / "model", known["config"], weights(known["shapes"]))

    entry, told = build(workspace, folder)

    (projector,) = entry.manifest.with_role(Role.PROJECTOR)
    header = read_header(workspace.store.blobs.path(projector.digest))
    assert header.architecture == "clip"
    assert "converting the projector" in told.ended


def test_quantized_weights_of_our_own_families_go_to_llama_cpps_converter(
    made: Callable[..., tuple[Entry, Told]],
) -> None:
    quantized = {"quant_method": "fp8"}

    entry, _ = made(architectures=["FakeForCausalLM"], quantization_config=quantized)

    assert entry.manifest.with_role(Role.WEIGHTS)


def test_what_loses_quality_is_refused_by_name(made: Callable[..., tuple[Entry, Told]]) -> None:
    with pytest.raises(UsageError, match="quantized by bitsandbytes"):
        made(
            architectures=["LlamaForCausalLM"],
            quantization_config={"quant_method": "bitsandbytes"},
        )


def test_missing_packages_are_named_with_the_command(
    made: Callable[..., tuple[Entry, Told]], packages: list[str]
) -> None:
    packages.append("torch")

    with pytest.raises(UsageError, match="needs torch") as caught:
        made(architectures=["FakeForCausalLM"])

    assert "localrun[convert]" in str(caught.value.hint)


def test_an_unknown_architecture_is_named(made: Callable[..., tuple[Entry, Told]]) -> None:
    with pytest.raises(UsageError, match="NewForCausalLM is known neither"):
        made(architectures=["NewForCausalLM"])


def test_a_model_that_sees_says_why_it_does_not(
    workspace: Workspace, tmp_path: Path, packages: list[str]
) -> None:
    packages.append("torch")
    tiny = decoder("llama", "LlamaForCausalLM", vision_config={})

    _, told = build(workspace, tiny.write(tmp_path / "tiny"))

    assert any("takes text only" in note for note in told.notes)


@pytest.mark.parametrize("has_packages", [True, False])
def test_a_tokenizer_unknown_to_ours_goes_to_llama_cpps_converter(
    workspace: Workspace, tmp_path: Path, packages: list[str], *, has_packages: bool
) -> None:
    (tmp_path / "made.gguf").write_bytes(gguf(3))
    path = str(tmp_path / "made.gguf")
    fake_component(tmp_path, f"output.write_bytes(pathlib.Path({path!r}).read_bytes())")
    folder = decoder("llama", "LlamaForCausalLM").write(tmp_path / "tiny")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "[a-z]+"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    if not has_packages:
        packages.append("torch")
        with pytest.raises(UsageError, match="splits text by a rule"):
            build(workspace, folder)
        return

    entry, told = build(workspace, folder)

    assert entry.manifest.with_role(Role.WEIGHTS)[0].size_bytes == len(gguf(3))
    assert any("is asked instead" in note for note in told.notes)


def index(content: bytes, digest: str) -> Callable[[Request], Reply]:
    def answer(request: Request) -> Reply:
        if request.path == "/simple/llama-cpp-python/":
            others = {"url": "x", "hashes": {"sha256": "0" * 64}}
            ours = {"url": f"http://{request.headers['host']}/s.tgz", "hashes": {"sha256": digest}}
            return Reply(200, json.dumps({"files": [others, ours]}).encode())
        return Reply(200, content)

    return answer


def test_the_converter_is_fetched_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = sources(FILES).getvalue()
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(components, "SOURCES_DIGEST", f"sha256:{digest}")
    with serving(index(content, digest)) as web:
        online = Workspace(workspace.settings, {converting.INDEX_VARIABLE: web.url})
        told = Told()

        first = converting._fetched(online, told)
        asked = len(web.requests)
        second = converting._fetched(online, told)

        assert first == second
        assert first.converts(["FakeForCausalLM"])
        assert len(web.requests) == asked
        assert sorted(path.name for path in components.kept_path().parent.iterdir()) == [
            components.FILE, "lock",
        ]  # fmt: skip


def test_other_sources_are_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "SOURCES_DIGEST", f"sha256:{'1' * 64}")
    with serving(index(b"", "2" * 64)) as web:
        online = Workspace(workspace.settings, {converting.INDEX_VARIABLE: web.url})

        with pytest.raises(NetworkError, match="does not have llama_cpp_python"):
            converting._fetched(online, Told())

    assert not components.kept_path().exists()
