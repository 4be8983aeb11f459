"""A projector becomes a layer of its own, whether it was in the same file or beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from localrun.names.parse import parse_name
from localrun.services.machine.memory_plan import MemoryQuery, plan_memory
from localrun.services.pulling.lock import make_lock
from localrun.services.pulling.pull import pull_model
from localrun.services.show import describe_model
from localrun.store.manifest import Role
from localrun.store.store import embedded_models
from tests.engine.tiny import WIDTH, full_attention
from tests.fakes.registry import digest_of
from tests.services.making import Told, entry_of, gguf
from tests.services.translating.publishing import REPO, gpt_oss_files, publish
from tests.translation.families import FAMILIES
from tests.translation.projectors import CLIP_DEVIATION, CLIP_MEAN, PROJECTORS, Projector, llava
from tests.translation.seeing import seen

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace
    from tests.fakes.registry import FakeRegistry
    from tests.fakes.web import Web

GUIDE = embedded_models()["guide:latest"]


@pytest.fixture
def gemma3_file(tmp_path: Path) -> Path:
    family, projector = FAMILIES["gemma3"], PROJECTORS["gemma3"]
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    family.make(ours, GUIDE)
    family.write_old(ours, theirs, projector.old_tensors(), projector.old_values("gemma3"))
    return theirs


def llava_projector(path: Path, *, has_type: bool) -> bytes:
    """Return a projector of LLaVA as it was published, without a type."""
    projector = Projector("mlp", llava, names=(), mean=CLIP_MEAN, deviation=CLIP_DEVIATION)
    projector.write(path, np.zeros((16, WIDTH), np.float32))
    if has_type:
        return path.read_bytes()
    reader = GGUFReader(path)
    writer = GGUFWriter(path.with_suffix(".old"), "clip")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in {
            "general.architecture",
            "clip.projector_type",
        }:
            inner = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.with_suffix(".old").read_bytes()


def test_a_projector_in_the_same_file_becomes_a_layer(
    online: Workspace, web: Web, registry: FakeRegistry, gemma3_file: Path
) -> None:
    publish(registry, gemma3_file.read_bytes())

    pulled = pull_model(online, parse_name(f"{web.host}/{REPO}"))

    manifest = entry_of(online, pulled.name).manifest
    model = online.models.find_model(pulled.name)
    assert [layer.role for layer in manifest.layers] == [
        Role.WEIGHTS,
        Role.PROJECTOR,
        Role.SYSTEM,
    ]
    assert manifest.layers[1].media_type == "application/vnd.ollama.image.projector"
    assert manifest.layers[0].published == manifest.layers[1].published
    assert "vision" in model.details.capabilities
    assert describe_model(online, pulled.name).has_projector
    assert seen(model.shards[0], model.projectors[0], WIDTH).shape[1] == WIDTH


def test_a_lock_names_the_one_file_of_model_and_projector(
    online: Workspace, web: Web, registry: FakeRegistry, gemma3_file: Path
) -> None:
    weights = gemma3_file.read_bytes()
    publish(registry, weights)
    pull_model(online, parse_name(f"{web.host}/{REPO}"))

    (locked,) = make_lock(online)["models"].values()

    assert [file["digest"] for file in locked["files"]] == [
        digest_of(weights),
        digest_of(b"Be brief."),
    ]
    assert locked["files"][0]["role"] == "weights"


def test_a_projector_without_a_type_gets_one(
    online: Workspace, web: Web, registry: FakeRegistry, tmp_path: Path
) -> None:
    full_attention(tmp_path / "llama.gguf", GUIDE)
    projector = llava_projector(tmp_path / "clip.gguf", has_type=False)
    publish(registry, (tmp_path / "llama.gguf").read_bytes(), projector=projector)

    pulled = pull_model(online, parse_name(f"{web.host}/{REPO}"))

    model = online.models.find_model(pulled.name)
    reader = GGUFReader(model.projectors[0])
    assert reader.fields["clip.projector_type"].contents() == "mlp"
    assert describe_model(online, pulled.name).layout is None  # the weights are as published
    expected = seen(model.shards[0], tmp_path / "clip.gguf", WIDTH)
    assert np.array_equal(seen(model.shards[0], model.projectors[0], WIDTH), expected)


def test_a_projector_with_a_type_stays_as_it_is(
    online: Workspace, web: Web, registry: FakeRegistry, tmp_path: Path
) -> None:
    full_attention(tmp_path / "llama.gguf", GUIDE)
    projector = llava_projector(tmp_path / "clip.gguf", has_type=True)
    published = publish(registry, (tmp_path / "llama.gguf").read_bytes(), projector=projector)

    pulled = pull_model(online, parse_name(f"{web.host}/{REPO}"))

    assert pulled.manifest == published


def test_a_plan_expects_that_a_file_elsewhere_will_be_translated(
    online: Workspace, web: Web, registry: FakeRegistry, tmp_path: Path
) -> None:
    publish(registry, gpt_oss_files(tmp_path)[1].read_bytes())

    found = plan_memory(online, f"{web.host}/{REPO}", MemoryQuery())

    assert found.unknown is None
    assert not found.is_here


def test_an_architecture_that_nothing_translates_is_said_with_what_would_help(
    online: Workspace, web: Web, registry: FakeRegistry
) -> None:
    publish(registry, gguf(architecture="quux"), repo="library/qwen3")
    told = Told()

    pull_model(online, parse_name(f"{web.host}/library/qwen3"), report=told)

    assert "does not know the architecture 'quux'; localrun pull qwen3:" in told.notes[-1]
