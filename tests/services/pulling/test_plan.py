"""What a name means at its source, before anything is downloaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.errors import (
    IntegrityError,
    ModelNotFoundError,
    NetworkError,
    QuantizationNotFoundError,
    UsageError,
)
from localrun.names.parse import parse_name
from localrun.registry.http import OfflineError
from localrun.services.pulling.plan import PullPlan, make_plan
from localrun.store.manifest import Role
from tests.fakes.hub import FakeHub, Fault
from tests.services.making import (
    DEAD,
    FILES,
    NAME,
    REPO,
    WEIGHTS,
    digest,
    gguf,
    pull,
    with_environ,
    workspace_at,
)

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace

QWEN = "Qwen/Qwen3-0.6B-GGUF"


@pytest.fixture
def qwen(hub: FakeHub) -> FakeHub:
    files = {f"Qwen3-0.6B-{tag}.gguf": gguf(n) for n, tag in enumerate(("Q8_0", "Q4_K_M"))}
    hub.add(QWEN, files)
    return hub


def plan_of(workspace: Workspace, name: str) -> PullPlan:
    return make_plan(workspace, parse_name(name))


def file_names(plan: PullPlan) -> list[str]:
    return [planned.file.name for planned in plan.files]


def test_projector_template_and_licence_come_along(workspace: Workspace) -> None:
    plan = plan_of(workspace, NAME)

    assert [(planned.file.name, planned.role) for planned in plan.files] == [
        ("model-Q4_K_M.gguf", Role.WEIGHTS),
        ("mmproj-F16.gguf", Role.PROJECTOR),
        ("chat_template.jinja", Role.TEMPLATE),
        ("LICENSE", Role.LICENSE),
    ]
    assert plan.files[0].file.digest == digest(WEIGHTS)
    assert plan.size_bytes == sum(len(FILES[name]) for name in file_names(plan))
    assert plan.notes == ()


def test_a_draft_head_beside_the_model_is_named_and_not_taken(
    workspace: Workspace, hub: FakeHub
) -> None:
    hub.add(REPO, {**FILES, "eagle3-model-Q4_K_M.gguf": gguf(5), "dflash-model.gguf": gguf(6)})

    plan = plan_of(workspace, NAME)
    head = plan_of(workspace, f"hf.co/{REPO}/eagle3-model-Q4_K_M.gguf")

    assert "eagle3-model-Q4_K_M.gguf" not in file_names(plan)
    (note,) = plan.notes
    assert f"localrun pull hf.co/{REPO}/eagle3-model-Q4_K_M.gguf" in note
    assert file_names(head)[0] == "eagle3-model-Q4_K_M.gguf"
    assert head.notes == ()


def test_without_a_tag_the_choice_is_stated_and_recorded(
    workspace: Workspace, hub: FakeHub
) -> None:
    plan = plan_of(workspace, f"hf:{REPO}")

    assert "Q4_K_M was chosen" in plan.notes[0]
    assert plan.provenance.choice == "Q4_K_M"
    assert plan.provenance.origin == NAME
    assert plan.provenance.revision == hub.repos[REPO].head.commit


def test_a_missing_quantization_is_an_error_that_lists_what_there_is(workspace: Workspace) -> None:
    with pytest.raises(QuantizationNotFoundError) as caught:
        plan_of(workspace, f"hf.co/{REPO}:Q2_K")

    assert "Q4_K_M" in str(caught.value.hint)
    assert "Q8_0" in str(caught.value.hint)


@pytest.mark.usefixtures("qwen")
def test_a_name_of_the_catalog_takes_the_quantization_of_the_catalog(workspace: Workspace) -> None:
    plan = plan_of(workspace, "qwen3:0.6b")

    assert file_names(plan) == ["Qwen3-0.6B-Q8_0.gguf"]
    assert plan.notes[0].startswith("qwen3:0.6b means Q8_0 of hf.co/Qwen/")


@pytest.mark.usefixtures("qwen")
@pytest.mark.parametrize("name", ["qwen3:0.6b-q4_k_m", "Qwen3:0.6B-Q4_K_M"])
def test_a_tag_of_the_catalog_may_end_in_a_quantization(workspace: Workspace, name: str) -> None:
    plan = plan_of(workspace, name)

    assert file_names(plan) == ["Qwen3-0.6B-Q4_K_M.gguf"]
    assert plan.provenance.choice == "Q4_K_M"
    assert str(plan.ref) == name


def test_an_unknown_name_gets_near_ones(workspace: Workspace, hub: FakeHub) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        plan_of(workspace, "qwne3:0.6b")

    assert "qwen3" in caught.value.message
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("localrun pull qwen3")
    assert hub.requests == []


def test_a_namespace_without_a_source_is_told_which_sources_there_are(workspace: Workspace) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        plan_of(workspace, "owner/model")

    assert "hf.co/owner/model" in str(caught.value.hint)


def test_what_comes_with_localrun_is_not_pulled(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="comes with localrun"):
        plan_of(workspace, "guide")


def test_a_file_of_a_repository_at_a_revision(workspace: Workspace, hub: FakeHub) -> None:
    old = hub.repos[REPO].head.commit
    hub.replace(REPO, "model-Q8_0.gguf", gguf(80))

    plan = plan_of(workspace, f"hf:{REPO}/model-Q8_0.gguf@{old}")

    assert plan.files[0].file.digest == digest(FILES["model-Q8_0.gguf"])
    assert plan.provenance.revision == old
    assert plan.provenance.choice is None


def test_a_file_that_is_not_there_is_told_with_those_that_are(workspace: Workspace) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        plan_of(workspace, f"hf:{REPO}/other.gguf")

    assert "model-Q8_0.gguf" in str(caught.value.hint)


@pytest.mark.parametrize(
    "name", ["hf:owner/split:Q8_0", "hf:owner/split/b-Q8_0-00001-of-00002.gguf"]
)
def test_all_shards_of_a_split_model_are_planned_in_order(
    workspace: Workspace, hub: FakeHub, name: str
) -> None:
    shards = [f"b-Q8_0-0000{n}-of-00002.gguf" for n in (2, 1)]
    hub.add("owner/split", {shard: gguf(n) for n, shard in enumerate(shards)})

    assert file_names(plan_of(workspace, name)) == sorted(shards)


@pytest.mark.usefixtures("qwen")
def test_when_hugging_face_is_down_modelscope_is_used(workspace: Workspace) -> None:
    plan = plan_of(with_environ(workspace, HF_ENDPOINT=DEAD), "qwen3:0.6b")

    assert plan.provenance.origin == f"modelscope.cn/{QWEN}:Q8_0"
    assert "ModelScope is used instead" in plan.notes[-1]
    assert file_names(plan) == ["Qwen3-0.6B-Q8_0.gguf"]


def test_when_nobody_answers_the_error_is_the_networks(workspace: Workspace) -> None:
    down = with_environ(workspace, HF_ENDPOINT=DEAD, MODELSCOPE_ENDPOINT=DEAD)

    with pytest.raises(NetworkError):
        plan_of(down, "qwen3:0.6b")


def test_offline_no_call_is_made(tmp_path: Path, hub: FakeHub) -> None:
    offline = workspace_at(tmp_path, hub.url, is_offline=True)

    for name in ("qwen3:0.6b", NAME, f"ms:{REPO}", "localhost:1/a/b:c"):
        with pytest.raises(OfflineError, match="LOCALRUN_OFFLINE"):
            plan_of(offline, name)

    assert hub.requests == []


def test_a_gated_repository_says_which_page_to_open(workspace: Workspace, hub: FakeHub) -> None:
    hub.add("meta/gated", FILES, gated=True)

    with pytest.raises(NetworkError) as caught:
        plan_of(workspace, "hf:meta/gated:Q8_0")

    assert "meta/gated" in f"{caught.value.message} {caught.value.hint}"


def test_a_private_repository_needs_the_token(workspace: Workspace, hub: FakeHub) -> None:
    hub.add("me/private", FILES, private=True)

    with pytest.raises(ModelNotFoundError):
        plan_of(workspace, "hf:me/private:Q8_0")
    let_in = with_environ(workspace, HF_TOKEN=hub.token)

    assert file_names(plan_of(let_in, "hf:me/private:Q8_0"))[0] == "model-Q8_0.gguf"


def test_mirrors_are_asked_only_when_they_are_needed(tmp_path: Path, hub: FakeHub) -> None:
    odd = {"a folder/model-Q4_K_M.gguf": WEIGHTS}
    hub.add("owner/odd", odd)
    workspace = workspace_at(tmp_path, hub.url, mirrors=("https://mirror.example",))

    plan = plan_of(workspace, "hf:owner/odd:Q4_K_M")
    num_asked = len(hub.requests)
    mirrors = plan.files[0].find_mirrors()

    assert mirrors[0].name == "mirror.example"
    assert mirrors[0].url == (
        "https://mirror.example/owner/odd/resolve/main/a%20folder/model-Q4_K_M.gguf"
    )
    assert len(mirrors) == 2
    assert len(hub.requests) > num_asked


def test_a_mirror_that_refuses_is_no_mirror(workspace: Workspace, hub: FakeHub) -> None:
    bad = with_environ(workspace, MODELSCOPE_API_TOKEN="no\ttoken")  # noqa: S106 - none
    plan = plan_of(bad, NAME)
    hub.faults.append(Fault.garbage(path="/api/v1", count=9))

    assert list(plan.files[0].find_mirrors()) == []


def test_a_url_is_a_file_with_the_digest_it_names(workspace: Workspace) -> None:
    url = f"https://user:secret@host.example/a/m.gguf?sig=1#sha256={'0' * 64}"

    plan = plan_of(workspace, url)

    (planned,) = plan.files
    assert planned.file.name == "m.gguf"
    assert planned.file.digest == f"sha256:{'0' * 64}"
    assert planned.file.sources[0].name == "host.example"


def test_a_file_of_this_machine_is_imported_and_not_pulled(workspace: Workspace) -> None:
    with pytest.raises(UsageError) as caught:
        plan_of(workspace, "./m.gguf")

    assert caught.value.hint == "localrun import ./m.gguf"


def test_a_name_of_this_machine_is_pulled_from_its_origin(workspace: Workspace) -> None:
    pull(workspace)
    entry = workspace.store.find(parse_name(NAME))
    assert entry is not None
    with workspace.store.lease() as lease:
        content = workspace.store.blobs.path(entry.ref.manifest).read_bytes()
        from localrun.store.store import Provenance

        workspace.store.tag(parse_name("mine"), content, lease, Provenance(origin=NAME))
        workspace.store.tag(parse_name("made"), content, lease)

    plan = plan_of(workspace, "mine")

    assert str(plan.ref) == "mine:latest"
    assert file_names(plan)[0] == "model-Q4_K_M.gguf"
    with pytest.raises(UsageError, match="created on this machine"):
        plan_of(workspace, "made")


def test_a_digest_in_a_hubs_name_is_kept_to(workspace: Workspace) -> None:
    right = pull(workspace).manifest

    assert pull(workspace, f"{NAME}@{right}").manifest == right
    with pytest.raises(IntegrityError, match=right):
        pull(workspace, f"{NAME}@sha256:{'0' * 64}")
    assert plan_of(workspace, f"{NAME}@{right}") == replace(
        plan_of(workspace, NAME), ref=parse_name(f"{NAME}@{right}"), pinned=right
    )
