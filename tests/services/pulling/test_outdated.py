"""Which models have moved where they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import ModelNotFoundError, UsageError
from localrun.modelfile.parse import parse_modelfile
from localrun.names.parse import parse_name
from localrun.registry.http import OfflineError
from localrun.services.creating.create import create_model
from localrun.services.naming import copy_model
from localrun.services.pulling.lock import make_lock
from localrun.services.pulling.outdated import find_outdated, plan_of_newest
from localrun.services.pulling.plan import make_plan
from tests.services.making import (
    DEAD,
    NAME,
    REPO,
    TEMPLATE,
    WEIGHTS,
    digest,
    gguf,
    pull,
    with_environ,
    workspace_at,
)
from tests.store.building import put_model

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace
    from tests.fakes.hub import FakeHub

OTHER = f"hf.co/{REPO}:Q8_0"


def outdated(workspace: Workspace) -> dict[str, bool]:
    return {model.name: model.is_outdated for model in find_outdated(workspace)}


def test_only_the_model_whose_file_changed_is_outdated(workspace: Workspace, hub: FakeHub) -> None:
    pull(workspace)
    pull(workspace, OTHER)
    put_model(workspace.store, "made", [gguf(4)])
    assert outdated(workspace) == {NAME: False, OTHER: False}

    hub.replace(REPO, "model-Q8_0.gguf", gguf(88))

    assert outdated(workspace) == {NAME: False, OTHER: True}


def test_what_was_made_from_a_pulled_model_is_not_pulled_over(
    workspace: Workspace, hub: FakeHub, tmp_path: Path
) -> None:
    pull(workspace)
    recipe = parse_modelfile(f"FROM {NAME}\nSYSTEM mine\n".encode(), "Modelfile")
    create_model(workspace, parse_name("mine"), recipe, folder=tmp_path)

    hub.replace(REPO, "model-Q4_K_M.gguf", gguf(1))

    assert outdated(workspace) == {NAME: True}
    with pytest.raises(ModelNotFoundError, match="not pulled"):
        plan_of_newest(workspace, "mine")
    with pytest.raises(UsageError, match="created on this machine"):
        make_plan(workspace, parse_name("mine"))
    assert list(make_lock(workspace)["models"]) == [NAME]


def test_a_new_readme_makes_nothing_outdated(workspace: Workspace, hub: FakeHub) -> None:
    pull(workspace)

    hub.replace(REPO, "README.md", b"news")

    assert outdated(workspace) == {NAME: False}


def test_a_template_of_another_size_does(workspace: Workspace, hub: FakeHub) -> None:
    pull(workspace)

    hub.replace(REPO, "chat_template.jinja", TEMPLATE + b"{# fixed #}")

    assert outdated(workspace) == {NAME: True}


def test_what_was_pulled_at_a_revision_stays_there(workspace: Workspace, hub: FakeHub) -> None:
    commit = hub.repos[REPO].head.commit
    pull(workspace, f"{NAME}@{commit}")

    hub.replace(REPO, "model-Q4_K_M.gguf", gguf(1))

    assert outdated(workspace) == {f"{NAME}@{commit}": False}


def test_a_source_that_does_not_answer_is_a_problem_and_no_answer(workspace: Workspace) -> None:
    pull(workspace)

    (model,) = find_outdated(with_environ(workspace, HF_ENDPOINT=DEAD))

    assert not model.is_outdated
    assert "127.0.0.1:9" in str(model.problem)


def test_a_url_is_outdated_when_its_version_is_another(workspace: Workspace, hub: FakeHub) -> None:
    url = hub.url + hub.add_file("m.gguf", WEIGHTS, etag='"one"')
    pull(workspace, url)
    pull(workspace, f"{url}?x=1#{digest(WEIGHTS).replace(':', '=')}")
    assert [model.is_outdated for model in find_outdated(workspace)] == [False, False]

    hub.add_file("m.gguf", gguf(5), etag='"two"')
    changed = outdated(workspace)

    assert changed.pop(url)
    assert not any(changed.values())


def test_a_url_without_a_version_cannot_be_told(workspace: Workspace, hub: FakeHub) -> None:
    pull(workspace, hub.url + hub.add_versionless_file("m.gguf", WEIGHTS))

    (model,) = find_outdated(workspace)

    assert (model.is_untold, model.is_outdated, model.problem) == (True, False, None)


def test_offline_nothing_is_asked(tmp_path: Path, workspace: Workspace, hub: FakeHub) -> None:
    pull(workspace)
    num_asked = len(hub.requests)

    with pytest.raises(OfflineError):
        find_outdated(workspace_at(tmp_path, hub.url, is_offline=True))

    assert len(hub.requests) == num_asked


def test_the_newest_of_a_name_is_what_its_own_origin_has(
    workspace: Workspace, hub: FakeHub
) -> None:
    """Not what the catalog means by the name."""
    pull(workspace)
    copy_model(workspace, parse_name(NAME), parse_name("qwen3:0.6b"))
    hub.replace(REPO, "model-Q4_K_M.gguf", gguf(1))

    plan = plan_of_newest(workspace, "qwen3:0.6b")

    assert str(plan.ref) == "qwen3:0.6b"
    assert plan.files[0].file.digest == digest(gguf(1))
    with pytest.raises(ModelNotFoundError):
        plan_of_newest(workspace, "nosuch")
