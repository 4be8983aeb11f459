"""Models whose address has a login or a signature: sent where it belongs, written nowhere."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.names.parse import parse_name
from localrun.names.ref import ModelRef
from localrun.registry.remote import RemoteFile
from localrun.registry.transfer.range_reader import SourceUnusableError
from localrun.services.pulling.lock import make_lock, plans_of
from localrun.services.pulling.mirrors import Mirrors
from localrun.services.pulling.outdated import find_outdated
from localrun.services.pulling.plan import make_plan
from localrun.store.refs import remove_ref
from tests.fakes.web import Reply, Request, serving
from tests.services.making import Told, entry_of, gguf, pull, workspace_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.services.workspace import Workspace
    from tests.fakes.web import Web

LOGIN = f"Basic {base64.b64encode(b'user:zyx@wvu').decode()}"
WEIGHTS = gguf(5, 5000)


def answer(request: Request) -> Reply:
    """Send the file to who has logged in, or has a signature."""
    if request.authorization != LOGIN and request.query.get("sig") != ["zyxwvu"]:
        return Reply(401 if "sig" not in request.path else 403)
    return Reply(200, WEIGHTS, {"ETag": '"1"'})


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(answer) as running:
        yield running


@pytest.fixture
def workspace(web: Web, tmp_path: Path) -> Workspace:
    return workspace_at(tmp_path, web.url)


def with_login(web: Web) -> str:
    return web.url.replace("://", "://user:zyx%40wvu@") + "/x.gguf"


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_secret_brings_the_file_and_is_written_nowhere(
    workspace: Workspace, web: Web, tmp_path: Path, *, is_signed: bool
) -> None:
    told = Told()
    name = f"{web.url}/x.gguf?se=1&sig=zyxwvu" if is_signed else with_login(web)

    pulled = pull(workspace, name, told)

    assert pulled.name == f"{web.url}/x.gguf"
    assert entry_of(workspace, name) == entry_of(workspace, pulled.name)
    assert entry_of(workspace, name).ref.origin == pulled.name
    lock = make_lock(workspace)
    for text in (repr(pulled), repr(told), repr(lock), str(list(tmp_path.rglob("*")))):
        assert "zyx" not in text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"zyx" not in path.read_bytes()


def test_the_name_alone_says_what_is_missing(workspace: Workspace, web: Web) -> None:
    pull(workspace, with_login(web))

    with pytest.raises(SourceUnusableError) as caught:
        pull(workspace, f"{web.url}/x.gguf")

    assert "login or signature is never stored" in (caught.value.hint or "")
    (fresh,) = find_outdated(workspace)
    assert "answers 401" in (fresh.problem or "")


def test_the_name_alone_is_enough_where_the_file_is_open_to_all(
    workspace: Workspace, web: Web
) -> None:
    pull(workspace, with_login(web))
    web.answer = lambda _: Reply(200, WEIGHTS, {"ETag": '"1"'})

    assert not pull(workspace, f"{web.url}/x.gguf").is_changed
    assert plans_of(workspace, make_lock(workspace)["models"])[0].ref.full_address is None


def test_a_wrong_secret_is_named_and_not_shown(workspace: Workspace, web: Web) -> None:
    with pytest.raises(SourceUnusableError) as caught:
        make_plan(workspace, parse_name(f"{web.url}/x.gguf?sig=zyx"))

    assert "zyx" not in caught.value.message
    assert "has expired" in (caught.value.hint or "")


def test_a_mirror_gets_its_login(tmp_path: Path, web: Web) -> None:
    address = web.url.replace("://", "://user:zyx%40wvu@")
    workspace = workspace_at(tmp_path, web.url, mirrors=(address,))
    at_hub = parse_name("hf.co/owner/repo:Q4_K_M")
    remote = Mirrors(workspace, at_hub, None).finder(
        RemoteFile(name="x.gguf", digest="sha256:1")
    )()[0]

    with workspace.http.open(remote.url, credential=remote.credential) as response:
        assert response.body() == WEIGHTS
    assert remote.name == web.host
    assert "zyx" not in repr(remote)


def test_a_name_that_an_earlier_version_gave_loses_its_secret(
    workspace: Workspace, web: Web, tmp_path: Path
) -> None:
    pull(workspace, with_login(web))
    layout, ref = workspace.store.layout, entry_of(workspace, with_login(web)).ref
    secret = f"{web.url}/x.gguf?sig=zyxwvu"
    remove_ref(layout, ref.parsed)
    path = layout.ref(ModelRef(location=secret).key)
    path.parent.mkdir(parents=True)
    path.write_bytes(replace(ref, name=secret, origin=secret).to_json())

    names = [entry.ref.name for entry in workspace.store.entries()]

    assert names == [f"{web.url}/x.gguf"]
    assert entry_of(workspace, names[0]).ref == ref
    assert not path.exists()
    assert "zyx" not in str(list(tmp_path.rglob("*")))
