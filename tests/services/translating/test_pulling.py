"""Models that Ollama published for its old engine are translated when they are pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from localrun.errors import IntegrityError
from localrun.names.parse import parse_name
from localrun.services.capabilities import check_can_answer
from localrun.services.pulling.lock import make_lock, plans_of
from localrun.services.pulling.outdated import find_outdated
from localrun.services.pulling.plan import make_plan
from localrun.services.pulling.pull import Pulled, PullOptions, pull_model, run_plan
from localrun.services.pulling.translated import is_here
from localrun.services.push import push_model
from localrun.services.show import describe_model
from localrun.services.verify import verify_models
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.store.garbage import collect_garbage
from localrun.store.manifest import Role
from tests.convert.logits import logits
from tests.fakes.registry import FakeRegistry, digest_of
from tests.fakes.web import Web, serving
from tests.registry.conftest import keep_apart
from tests.services.making import Told, entry_of, workspace_at
from tests.services.translating.publishing import REPO, fetched, gpt_oss_files, publish
from tests.store.building import blob_names, damage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.hub import FakeHub

TOKENS = [1, 5, 9, 200, 31]


class Published(NamedTuple):
    """A registry with gpt-oss, and the same model as llama.cpp reads it."""

    web: Web
    registry: FakeRegistry
    weights: bytes
    ours: Path
    manifest: str
    name: str


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return gpt_oss_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def published(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Published]:
    keep_apart(monkeypatch, tmp_path)
    registry, weights = FakeRegistry(), files[1].read_bytes()
    manifest = publish(registry, weights)
    with serving(registry) as web:
        yield Published(web, registry, weights, files[0], manifest, f"{web.host}/{REPO}")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path / "here")


def workspace_in(folder: Path) -> Workspace:
    known = Settings(log_dir=folder / "log", models_dir=folder / "store")
    return Workspace(known, {}, home=folder / "home")


def pull(workspace: Workspace, name: str, told: Told | None = None) -> Pulled:
    return pull_model(workspace, parse_name(name), report=told)


def test_a_pulled_model_computes_what_the_original_does(
    workspace: Workspace, published: Published
) -> None:
    told = Told()

    pulled = pull(workspace, published.name, told)

    model = workspace.models.find_model(pulled.name)
    check_can_answer(model)
    assert model.details.family == "gpt-oss"
    assert np.array_equal(
        logits(model.shards[0], None, TOKENS), logits(published.ours, None, TOKENS)
    )
    assert "was written for Ollama's old engine" in told.notes[-1]
    assert told.ended["translation"][0] == told.ended["translation"][1]
    assert describe_model(workspace, pulled.name).layout == (
        "written for Ollama's old engine, translated"
    )


def test_the_manifest_keeps_what_was_published_and_the_file_is_gone(
    workspace: Workspace, published: Published
) -> None:
    pull(workspace, published.name)

    manifest = entry_of(workspace, published.name).manifest
    layer = manifest.with_role(Role.WEIGHTS)[0]
    assert manifest.published == published.manifest
    assert layer.published is not None
    assert layer.published.digest == digest_of(published.weights)
    assert layer.published.size_bytes == len(published.weights)
    assert layer.digest != layer.published.digest
    assert digest_of(published.weights) not in blob_names(workspace.store.layout)
    by_digest = workspace.store.find(parse_name(f"{published.name}@{published.manifest}"))
    assert by_digest == entry_of(workspace, published.name)


def test_it_is_fetched_once_also_for_another_tag(
    workspace: Workspace, published: Published
) -> None:
    first = pull(workspace, published.name)
    num_requests = fetched(published.web, published.weights)
    publish(published.registry, published.weights, tag="20b", system="Be kind.")

    told = Told()
    again = pull(workspace, published.name, told)
    plan = make_plan(workspace, parse_name(f"{published.name}:20b"))
    are_here = [is_here(workspace, planned) for planned in plan.files]
    other = pull(workspace, f"{published.name}:20b")

    assert (again.is_changed, again.fetched_bytes) == (False, 0)
    assert again.manifest == first.manifest
    assert sum(done for done, _ in told.ended.values()) == told.begun[0][0]
    assert other.fetched_bytes == len("Be kind.")
    assert are_here == [True, True, False]  # config, weights, system prompt
    assert fetched(published.web, published.weights) == num_requests > 0


def test_it_is_outdated_when_its_origin_has_another_version(
    workspace: Workspace, published: Published
) -> None:
    pull(workspace, published.name)
    assert [model.is_outdated for model in find_outdated(workspace)] == [False]

    publish(published.registry, published.weights, system="Be kind.")

    assert [model.is_outdated for model in find_outdated(workspace)] == [True]


def test_garbage_collection_keeps_the_translation_and_forgets_one_that_is_gone(
    workspace: Workspace, published: Published
) -> None:
    pull(workspace, published.name)
    records = workspace.store.layout.root / "translations"

    assert collect_garbage(workspace.store).blobs == ()
    assert len(list(records.iterdir())) == 1
    assert all(verdict.is_good for verdict in verify_models(
        workspace, [], Told(), is_repair=False
    ))  # fmt: skip

    damaged = entry_of(workspace, published.name).manifest.with_role(Role.WEIGHTS)[0]
    workspace.store.layout.blob(damaged.digest).unlink()
    collect_garbage(workspace.store)

    assert list(records.iterdir()) == []


def test_a_repair_translates_again(workspace: Workspace, published: Published) -> None:
    before = pull(workspace, published.name)
    layer = entry_of(workspace, published.name).manifest.with_role(Role.WEIGHTS)[0]
    damage(workspace.store.layout.blob(layer.digest))
    num_requests = fetched(published.web, published.weights)

    verdicts = verify_models(workspace, [], Told(), is_repair=True)

    assert [verdict.is_repaired for verdict in verdicts] == [True]
    assert entry_of(workspace, published.name).ref.manifest == before.manifest
    assert fetched(published.web, published.weights) > num_requests


def test_a_lock_names_what_the_registry_has(
    workspace: Workspace, published: Published, tmp_path: Path
) -> None:
    pulled = pull(workspace, published.name)

    lock = make_lock(workspace)

    (locked,) = lock["models"].values()
    digests = [file["digest"] for file in locked["files"]]
    assert locked["manifest"] == published.manifest
    assert digests == [digest_of(published.weights), digest_of(b"Be brief.")]
    colleague = workspace_in(tmp_path / "there")
    (plan,) = plans_of(colleague, lock["models"])
    assert run_plan(colleague, plan, PullOptions(), Told()).manifest == pulled.manifest
    assert make_lock(colleague) == lock


def test_a_translated_model_can_be_pushed_and_pulled(
    workspace: Workspace, published: Published, tmp_path: Path
) -> None:
    first = pull(workspace, published.name)
    target = parse_name(f"{published.web.host}/me/mine")
    push_model(workspace, parse_name(published.name), target, Told(), is_insecure=False)
    colleague = workspace_in(tmp_path / "there")

    pulled = pull(colleague, str(target))

    assert pulled.manifest == first.manifest
    assert [model.is_outdated for model in find_outdated(colleague)] == [False]
    (locked,) = make_lock(colleague)["models"].values()
    assert locked["manifest"] == pulled.manifest


def test_an_annotation_of_a_registry_is_not_trusted(
    workspace: Workspace, published: Published
) -> None:
    pull(workspace, published.name)
    weights = entry_of(workspace, published.name).manifest.with_role(Role.WEIGHTS)[0]
    content, media_type = published.registry.manifests[REPO, published.manifest]
    forged = content.replace(
        b'"size": 9', b'"annotations": {"localrun.published.digest": "sha256:'
        + b"0" * 64 + b'", "localrun.published.size": "1"}, "size": 9',
    )  # fmt: skip
    assert forged != content
    published.registry.manifests[REPO, "latest"] = (forged, media_type)

    pull(workspace, published.name)

    layers = entry_of(workspace, published.name).manifest.layers
    known = [layer.published for layer in layers if layer.role is not Role.WEIGHTS]
    assert known == [None]
    assert layers[0].published == weights.published


def test_an_unknown_layout_is_refused_in_one_line(
    workspace: Workspace, published: Published
) -> None:
    strange = published.weights.replace(b"blk.0.attn_out.weight", b"blk.0.attn_xyz.weight")
    publish(published.registry, strange, tag="strange")

    with pytest.raises(IntegrityError) as caught:
        pull(workspace, f"{published.name}:strange")

    assert "a layout that is not known" in caught.value.message
    assert caught.value.message.endswith("blk.0.attn_xyz.weight")
    assert "\n" not in caught.value.message
    assert caught.value.hint == "localrun search oss   finds another file of it"
    assert workspace.store.find(parse_name(f"{published.name}:strange")) is None


def test_a_file_of_a_hub_is_translated_and_locked_as_the_hub_has_it(
    tmp_path: Path, hub: FakeHub, published: Published
) -> None:
    hub.add("owner/oss-GGUF", {"oss-Q8_0.gguf": published.weights, "LICENSE": b"Do as you like."})
    workspace, name = workspace_at(tmp_path / "hub", hub.url), "hf.co/owner/oss-GGUF:Q8_0"

    first = pull(workspace, name)
    num_requests = len(hub.file_requests)
    again = pull(workspace, name)

    check_can_answer(workspace.models.find_model(name))
    assert (again.manifest, again.is_changed) == (first.manifest, False)
    assert len(hub.file_requests) == num_requests
    assert [model.is_outdated for model in find_outdated(workspace)] == [False]
    lock = make_lock(workspace)
    assert lock["models"][name]["files"][0]["digest"] == digest_of(published.weights)
    colleague = workspace_at(tmp_path / "there", hub.url)
    (plan,) = plans_of(colleague, lock["models"])
    assert run_plan(colleague, plan, PullOptions(), Told()).manifest == first.manifest
