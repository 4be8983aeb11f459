"""Registries without TLS, which a user allows by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import NetworkError
from localrun.names.parse import parse_name
from localrun.services.naming import copy_model, move_model
from localrun.services.pulling.outdated import find_outdated, plan_of_newest
from localrun.services.pulling.pull import PullOptions, pull_model
from localrun.services.push import push_model
from tests.fakes.registry import FakeRegistry
from tests.fakes.web import serving
from tests.services.making import Told, entry_of, pull

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.services.workspace import Workspace

INSECURE = PullOptions(is_insecure=True)


@pytest.fixture
def name(workspace: Workspace) -> Iterator[str]:
    """Push a model to a registry; returns its name there by a host that has no leave for http."""
    pull(workspace)
    with serving(FakeRegistry()) as web:
        source = entry_of(workspace).ref.parsed
        port = web.url.rpartition(":")[2]
        name = f"127.1:{port}/me/mine:1"  # only 127.0.0.1 and its like are loopback by name
        push_model(workspace, source, parse_name(name), Told(), is_insecure=True)
        yield name


def test_a_name_that_was_never_allowed_is_asked_by_https(workspace: Workspace, name: str) -> None:
    with pytest.raises(NetworkError):
        pull(workspace, name)


def test_what_was_allowed_is_kept_with_the_name(workspace: Workspace, name: str) -> None:
    pull_model(workspace, parse_name(name), INSECURE)
    told = Told()

    again = pull(workspace, name, told)
    pushed = push_model(workspace, parse_name(name), parse_name(name), told, is_insecure=False)

    assert not again.is_changed
    assert pushed.manifest == again.manifest
    assert "plain http" in told.notes[0]


def test_it_goes_where_the_name_goes(workspace: Workspace, name: str) -> None:
    pull_model(workspace, parse_name(name), INSECURE)
    copy_model(workspace, parse_name(name), parse_name("mine"))
    move_model(workspace, parse_name(name), parse_name("small"))

    problems = {model.name: model.problem for model in find_outdated(workspace)}

    assert problems["mine:latest"] is None
    assert problems["small:latest"] is None
    assert plan_of_newest(workspace, "small").provenance.scheme == "http"
    assert pull(workspace, "small").fetched_bytes == 0


def test_another_name_of_the_same_registry_is_not_allowed(workspace: Workspace, name: str) -> None:
    pull_model(workspace, parse_name(name), INSECURE)

    with pytest.raises(NetworkError):
        pull(workspace, name.replace("mine:1", "other:1"))
