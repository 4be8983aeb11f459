from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import LocalrunError, ModelNotFoundError, UsageError
from localrun.names.parse import parse_name
from localrun.remote.errors import RemoteEngineError
from localrun.remote.model import EngineKind
from localrun.services.creating.remake import recipe_text
from localrun.services.naming import copy_model, move_model, remove_model
from localrun.services.progress import SilentReport
from localrun.services.push import push_model
from localrun.services.remotes.adding import RemoteOptions, add_remote
from localrun.services.remotes.testing import check_remote, find_remote
from localrun.services.show import describe_model, list_tensors
from localrun.services.verify import verify_models
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from tests.fakes.engine import Asked, Wire, fake_engine, refused_url, says

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.remotes.adding import AddedRemote


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path)


def workspace_in(folder: Path, *, extra: tuple[Path, ...] = (), **changed: Any) -> Workspace:
    settings = Settings(
        log_dir=folder / "log",
        models_dir=folder / "models",
        prompts_dir=folder / "cache" / "prompts",
        extra_models=extra,
        **changed,
    )
    return Workspace(settings, {"GPU_KEY": "of-the-variable"}, folder)


def add(workspace: Workspace, *urls: str, name: str = "big", **options: Any) -> AddedRemote:
    return add_remote(workspace, parse_name(name), urls, RemoteOptions(**options))


def test_the_engine_says_what_the_user_leaves_out(workspace: Workspace) -> None:
    with fake_engine(says("ok")) as engine:
        added = add(workspace, engine.url)

    assert added.notes == ()
    remote = workspace.models.find_model("big").remote
    assert remote == added.remote
    assert remote.first.model == "m"
    assert (remote.engine, remote.context_length) == (EngineKind.VLLM, 4096)


def test_an_engine_that_is_away_is_a_note_if_its_model_is_named(workspace: Workspace) -> None:
    url = refused_url()

    added = add(workspace, url, model="Qwen/Qwen3-32B")

    assert "does not answer" in added.notes[0]
    assert workspace.models.find_model("big").name == "big:latest"
    with pytest.raises(RemoteEngineError):
        add(workspace, url, name="other")
    with pytest.raises(ModelNotFoundError):
        workspace.models.find_model("other")


def test_an_engine_with_several_models_wants_one_named(workspace: Workspace) -> None:
    def script(_: Asked, wire: Wire) -> None:
        wire.json({"data": [{"id": "a"}, {"id": "b"}]})

    with fake_engine(script) as engine:
        with pytest.raises(UsageError, match="has 2 models: a, b"):
            add(workspace, engine.url)
        added = add(workspace, engine.url, model="c")

    assert "does not list c" in added.notes[0]


def test_the_manifest_has_the_place_of_the_key_and_not_the_key(
    workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("of-the-file\n")
    file.chmod(0o600)

    add(workspace, refused_url(), model="m", key_file=str(file))
    add(workspace, refused_url(), model="m", key_env="GPU_KEY", name="other")

    stored = b"".join(
        path.read_bytes() for path in (tmp_path / "models").rglob("*") if path.is_file()
    )
    assert str(file).encode() in stored
    assert b"of-the-file" not in stored
    assert b"of-the-variable" not in stored


def test_what_is_doubtful_about_a_key_is_a_note(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("of-the-file\n")
    file.chmod(0o644)

    added = add(
        workspace, "http://gpu1.example:8000", model="m", key_file=str(file), asks_engines=False
    )

    assert any("other users can read" in note for note in added.notes)
    assert any("gpu1.example:8000 unencrypted" in note for note in added.notes)
    with pytest.raises(UsageError, match="cannot be read"):
        add(workspace, refused_url(), model="m", key_file=str(tmp_path / "none"))


def test_offline_no_engine_elsewhere_is_asked(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path, is_offline=True)

    added = add(workspace, "http://gpu1.example:8000", model="m")

    assert "LOCALRUN_OFFLINE is set" in added.notes[0]


def test_no_name_changes_from_local_to_remote(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="guide:latest is a model with weights"):
        add(workspace, refused_url(), model="m", name="guide")


def test_adding_again_changes_the_address(workspace: Workspace) -> None:
    add(workspace, "http://a.example", model="m", asks_engines=False)
    add(workspace, "http://b.example", model="m", asks_engines=False)

    _, remote = find_remote(workspace, "big")
    assert remote.first.host == "b.example"


def test_a_model_that_embeds_is_known_by_its_name(workspace: Workspace) -> None:
    added = add(workspace, "http://a.example", model="BAAI/bge-embed", asks_engines=False)
    ranker = add(workspace, "http://a.example", model="bge-reranker", asks_engines=False, name="r")

    assert added.remote.capabilities == ("embedding",)
    assert ranker.remote.capabilities == ("rerank",)


def test_names_of_remote_models_behave_like_names(workspace: Workspace) -> None:
    add(workspace, "http://a.example", model="m", asks_engines=False)

    copy_model(workspace, parse_name("big"), parse_name("copy"))
    move_model(workspace, parse_name("copy"), parse_name("moved"))
    remove_model(workspace, parse_name("big"))

    assert [model.name for model in workspace.models.list_models()] == [
        "guide:latest",
        "moved:latest",
    ]
    assert find_remote(workspace, "moved")[1].first.host == "a.example"
    verdicts = verify_models(workspace, [], SilentReport(), is_quick=False, is_repair=False)
    assert all(verdict.is_good for verdict in verdicts)


def test_what_needs_the_weights_is_refused_by_name(workspace: Workspace) -> None:
    add(workspace, "http://a.example", model="m", asks_engines=False)
    ref, target = parse_name("big"), parse_name("registry.example/me/big")

    for act in (
        lambda: push_model(workspace, ref, target, SilentReport(), is_insecure=False),
        lambda: list_tensors(workspace, "big"),
        lambda: workspace.models.find_model("big+guide"),
    ):
        with pytest.raises(UsageError, match="big:latest is a remote model"):
            act()


def test_the_recipe_of_a_remote_model_makes_the_same_model(workspace: Workspace) -> None:
    add(workspace, "http://a.example", "http://b.example", model="m", asks_engines=False)

    text = recipe_text(workspace, "big")

    assert text == (
        "# big:latest\nFROM remote+http://a.example/v1/m\nFROM remote+http://b.example/v1/m\n"
    )
    assert describe_model(workspace, "big").num_shards == 0


def test_a_list_from_the_index_knows_the_engine(tmp_path: Path) -> None:
    add(workspace_in(tmp_path), "http://a.example", model="m", asks_engines=False)

    for _ in range(2):  # the second from the index
        listed = workspace_in(tmp_path).models.list_models()
        remote = next(model.remote for model in listed if model.name == "big:latest")
        assert remote is not None
        assert remote.first.host == "a.example"


def test_a_read_only_store_may_not_choose_where_prompts_go(tmp_path: Path) -> None:
    add(workspace_in(tmp_path / "team"), "http://a.example", model="m", asks_engines=False)
    workspace = workspace_in(tmp_path / "mine", extra=(tmp_path / "team" / "models",))

    with pytest.raises(LocalrunError, match="may not choose where prompts go") as caught:
        workspace.models.find_model("big")
    assert [model.name for model in workspace.models.list_models()] == ["guide:latest"]

    assert caught.value.hint == "localrun cp big:latest big:latest   accepts it"
    copy_model(workspace, parse_name("big"), parse_name("big"))
    assert find_remote(workspace, "big")[1].first.host == "a.example"


def test_each_address_is_tested(workspace: Workspace) -> None:
    with fake_engine(says("ok")) as engine:
        add(workspace, engine.url, refused_url(), model="m")
        good, bad = check_remote(workspace, "big")

    assert (good.is_good, good.is_listed, good.num_models) == (True, True, 1)
    assert good.first_s is not None
    assert not bad.is_good
    assert "does not answer" in str(bad.problem)
    with pytest.raises(UsageError, match="guide:latest is no remote model"):
        check_remote(workspace, "guide")
