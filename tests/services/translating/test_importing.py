"""Files that Ollama wrote for its old engine are translated when they are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError
from localrun.names.parse import parse_name
from localrun.services.capabilities import check_can_answer
from localrun.services.importing import foreign_models, import_model, import_path, local_name
from localrun.services.show import describe_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.store.foreign.folders import ForeignTool
from localrun.store.manifest import Role
from tests.fakes.registry import FakeRegistry, digest_of
from tests.services.making import Told, entry_of
from tests.services.translating.publishing import REPO, gpt_oss_files, publish
from tests.store.building import blob_names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    known = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store", is_offline=True)
    environ = {"OLLAMA_MODELS": str(tmp_path / "ollama")}
    return Workspace(known, environ, home=tmp_path / "home")


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    return gpt_oss_files(tmp_path)[1]


def fill_ollama_store(folder: Path, weights: bytes) -> str:
    """Write a model as Ollama stores it; return the digest of its manifest."""
    registry = FakeRegistry()
    digest = publish(registry, weights)
    (folder / "blobs").mkdir(parents=True)
    for (_, name), content in registry.blobs.items():
        (folder / "blobs" / name.replace(":", "-")).write_bytes(content)
    manifest = folder / "manifests" / "registry.ollama.ai" / REPO / "latest"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(registry.manifests[REPO, "latest"][0])
    return digest


def test_an_imported_file_is_translated_and_stays_as_it_is(
    workspace: Workspace, old_file: Path
) -> None:
    told, content = Told(), old_file.read_bytes()

    (imported,) = import_path(workspace, old_file, parse_name("oss"), told)

    check_can_answer(workspace.models.find_model("oss"))
    assert describe_model(workspace, "oss").published is not None
    assert old_file.read_bytes() == content
    assert old_file.stat().st_nlink == 1
    assert digest_of(content) not in blob_names(workspace.store.layout)
    assert imported.copied_bytes == entry_of(workspace, "oss").manifest.layers[0].size_bytes
    assert told.begun == [(len(content), 1)]


def test_the_costs_are_said_before_the_translation(workspace: Workspace, old_file: Path) -> None:
    class Ordered(Told):
        def note(self, text: str) -> None:
            assert "translation" not in self.ended
            super().note(text)

    told = Ordered()
    import_path(workspace, old_file, parse_name("oss"), told)

    (note,) = told.notes
    megabytes = entry_of(workspace, "oss").manifest.layers[0].size_bytes / 1e6
    assert note == (
        "oss:latest was written for Ollama's old engine: "
        f"a translated copy takes {megabytes:.1f} MB of disk"
    ) or note.endswith("a translated copy shares most blocks with it")


def test_a_model_of_ollamas_store_is_translated(
    workspace: Workspace, old_file: Path, tmp_path: Path
) -> None:
    published = fill_ollama_store(tmp_path / "ollama", old_file.read_bytes())
    (model,) = foreign_models(workspace, ForeignTool.OLLAMA, None)
    ref = local_name(model)

    import_model(workspace, model, ref, Told())

    manifest = entry_of(workspace, str(ref)).manifest
    check_can_answer(workspace.models.find_model(str(ref)))
    assert manifest.published == published
    assert [layer.role for layer in manifest.layers] == [Role.WEIGHTS, Role.SYSTEM]
    assert workspace.models.find_model(str(ref)).recipe.system == "Be brief."


def test_a_second_import_translates_nothing(workspace: Workspace, old_file: Path) -> None:
    first = import_path(workspace, old_file, parse_name("oss"), Told())
    told = Told()

    again = import_path(workspace, old_file, parse_name("other"), told)

    assert told.notes == []
    assert again[0].copied_bytes == 0
    assert again[0].manifest == first[0].manifest


def test_an_unknown_layout_leaves_the_store_as_it_was(workspace: Workspace, old_file: Path) -> None:
    content = old_file.read_bytes()
    old_file.write_bytes(content.replace(b"blk.1.attn_out.weight", b"blk.1.attn_xyz.weight"))

    with pytest.raises(IntegrityError, match=r"not known.*blk\.1\.attn_xyz\.weight"):
        import_path(workspace, old_file, parse_name("oss"), Told())

    assert blob_names(workspace.store.layout) == set()
    assert list(workspace.store.layout.tmp.iterdir()) == []
