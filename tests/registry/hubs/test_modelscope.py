"""ModelScope by its real client, against a hub of our own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from localrun.errors import (
    LocalrunError,
    ModelNameError,
    ModelNotFoundError,
    NetworkError,
    UsageError,
)
from localrun.registry.http import Http, HttpError, OfflineError
from localrun.registry.hubs.modelscope import ModelScope
from tests.fakes.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.hub import FakeHub

REPO = "owner/model-GGUF"
MODEL = b"GGUF" * 100
FILES = {"f/m-Q8_0.gguf": b"GGUF", "model Q#1-Q4_K_M.gguf": MODEL}
STRANGE = "hf_strange"  # known to nobody
DEAD = "http://127.0.0.1:1"
FAULTS: dict[str, tuple[Fault, type[LocalrunError], str]] = {
    "busy": (Fault.status(503, for_metadata=True, count=9), HttpError, "503"),
    "limit": (Fault.status(429, retry_after_s=1, for_metadata=True, count=9), HttpError, "429"),
    "portal": (Fault.garbage(count=9), NetworkError, "like a model hub"),
    "cut": (Fault.cut(5, for_metadata=True, count=9), NetworkError, "127.0.0.1"),
}


def client(hub: FakeHub | str, **environ: str) -> ModelScope:
    endpoint = hub if isinstance(hub, str) else hub.url
    environ = {"MODELSCOPE_ENDPOINT": endpoint} | environ
    return ModelScope(Http(environ), environ)


def refusal(hub: ModelScope, repo: str, revision: str | None = None) -> LocalrunError:
    with pytest.raises(LocalrunError) as caught:
        hub.repository(repo, revision)
    assert "\n" not in caught.value.message
    return caught.value


def test_a_repository_has_its_files_with_sizes_and_digests(hub: FakeHub) -> None:
    hub.add(REPO, FILES)

    found = client(hub).repository(REPO, None)

    assert (found.name, found.revision) == (f"modelscope.cn/{REPO}", None)
    assert [(file.name, file.size_bytes, file.digest) for file in found.files] == [
        (name, len(data), f"sha256:{hashlib.sha256(data).hexdigest()}")
        for name, data in FILES.items()
    ]


def test_every_url_leads_to_the_bytes(hub: FakeHub) -> None:
    hub.add(REPO, FILES)

    for file in client(hub).repository(REPO, None).files:
        (remote,) = file.sources
        with Http({}).open(remote.url) as response:
            assert response.body() == FILES[file.name]
        assert "Revision=master" in remote.url


def test_a_revision_is_in_the_listing_and_in_the_urls(hub: FakeHub) -> None:
    commit = hub.add(REPO, FILES)
    hub.replace(REPO, "f/m-Q8_0.gguf", b"GGUF, longer")

    found = client(hub).repository(REPO, commit)

    assert found.files[0].size_bytes == 4
    assert f"Revision={commit}" in found.files[0].sources[0].url


def test_the_token_goes_along_and_is_the_endpoints_only(hub: FakeHub) -> None:
    hub.add(REPO, FILES, private=True)

    found = client(hub, MODELSCOPE_API_TOKEN=f"{hub.token}\n").repository(REPO, None)

    credential = found.files[0].sources[0].credential
    assert credential
    assert credential.for_url(f"{hub.url}/x") == {
        "Authorization": f"Bearer {hub.token}",
        "Cookie": f"m_session_id={hub.token}",
    }
    assert credential.for_url("https://cdn.example/x") == {}
    assert hub.token not in repr(found)


def test_the_client_looks_for_no_token_of_its_own(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, FILES)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", STRANGE)

    client(hub).repository(REPO, None)

    assert STRANGE not in str(hub.requests[0].headers)


@pytest.mark.parametrize("header", ["Authorization", "Cookie"])
def test_either_form_of_the_token_opens_a_file(hub: FakeHub, header: str) -> None:
    hub.add(REPO, FILES, private=True)
    found = client(hub, MODELSCOPE_API_TOKEN=hub.token).repository(REPO, None)

    (remote,) = found.files[0].sources
    assert remote.credential
    with Http({}).open(remote.url, headers={header: remote.credential.headers[header]}) as response:
        assert response.status == 200


@pytest.mark.parametrize("is_private", [True, False])
def test_a_missing_and_a_private_repository_are_told_alike(
    hub: FakeHub, *, is_private: bool
) -> None:
    hub.add(REPO if is_private else "a/b", FILES, private=True)

    error = refusal(client(hub), REPO)

    assert isinstance(error, ModelNotFoundError)
    assert "has no repository owner/model-GGUF, or a private one" in error.message
    assert "MODELSCOPE_API_TOKEN" in str(error.hint)


def test_a_missing_revision_is_told(hub: FakeHub) -> None:
    hub.add(REPO, FILES)

    error = refusal(client(hub, MODELSCOPE_API_TOKEN=STRANGE), REPO, "v2")

    assert isinstance(error, ModelNotFoundError)
    assert "with revision 'v2'" in error.message
    assert error.hint == "check the name"


@pytest.mark.parametrize(("status", "hint"), [(401, "myaccesstoken"), (403, f"models/{REPO}")])
def test_a_refusal_says_what_to_do(hub: FakeHub, status: int, hint: str) -> None:
    hub.faults.append(Fault.status(status, for_metadata=True, count=9))

    error = refusal(client(hub), REPO)

    assert isinstance(error, HttpError)
    assert error.status == status
    assert hint in str(error.hint)


@pytest.mark.parametrize("repo", ["model", "a/b/c", "a/b?x", "../b", ""])
def test_what_is_no_repositorys_name_is_told(hub: FakeHub, repo: str) -> None:
    assert isinstance(refusal(client(hub), repo), ModelNameError)
    assert hub.requests == []


def test_a_wrong_setting_is_told(hub: FakeHub) -> None:
    with pytest.raises(UsageError, match="MODELSCOPE_ENDPOINT"):
        client("ftp://x")
    with pytest.raises(UsageError, match="MODELSCOPE_API_TOKEN"):
        client(hub, MODELSCOPE_API_TOKEN=f"{STRANGE} b").repository(REPO, None)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("is_search", [True, False])
def test_a_hub_in_trouble_is_told_in_a_line(hub: FakeHub, fault: str, *, is_search: bool) -> None:
    hub.add(REPO, FILES)
    happening, kind, said = FAULTS[fault]
    hub.faults.append(happening)

    with pytest.raises(kind, match=said) as caught:
        client(hub).search("m", 1) if is_search else client(hub).repository(REPO, None)

    assert "\n" not in caught.value.message
    assert getattr(caught.value, "retry_after_s", None) == (1 if fault == "limit" else None)


def test_a_dead_endpoint_is_told() -> None:
    error = refusal(client(DEAD), REPO)

    assert isinstance(error, NetworkError)
    assert "127.0.0.1:1 does not answer" in error.message


def test_offline_makes_no_call(hub: FakeHub) -> None:
    offline = ModelScope(Http({}, is_offline=True), {"MODELSCOPE_ENDPOINT": hub.url})

    with pytest.raises(OfflineError, match="LOCALRUN_OFFLINE"):
        offline.repository(REPO, None)
    with pytest.raises(OfflineError):
        offline.search("x", 1)
    assert hub.requests == []


def test_a_search_finds_the_most_loaded_first(hub: FakeHub) -> None:
    hub.add("a/model-GGUF", FILES, downloads=5, likes=1)
    hub.add("b/model-gguf", FILES, downloads=9)
    hub.add("c/model", FILES, downloads=99)

    found = client(hub).search("model", 5)

    assert [one.name for one in found] == [
        "modelscope.cn/b/model-gguf",
        "modelscope.cn/a/model-GGUF",
    ]
    assert (found[1].downloads, found[1].likes) == (5, 1)
    assert len(client(hub).search("model", 1)) == 1


def test_a_search_looks_on_after_pages_without_gguf(hub: FakeHub) -> None:
    for number in range(60):
        hub.add(f"a/model-{number}", FILES, downloads=9)
    hub.add("b/model-GGUF", FILES, downloads=1)

    assert [one.name for one in client(hub).search("model", 5)] == ["modelscope.cn/b/model-GGUF"]
    assert len(hub.requests) == 2


def test_a_fresh_process_leaves_no_number_to_be_known_by(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    code = (
        "import os, json; from localrun.registry.http import Http;"
        "from localrun.registry.hubs.modelscope import ModelScope;"
        "print(json.dumps(len(ModelScope(Http(os.environ), os.environ)"
        f".repository({REPO!r}, None).files)))"
    )
    environ = {
        "MODELSCOPE_ENDPOINT": hub.url,
        "HOME": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
    }

    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True
    )

    assert (json.loads(done.stdout), done.stderr) == (2, "")
    assert len(hub.requests) == 1
    assert f"session_id/{'0' * 32}" in hub.requests[0].headers["User-Agent"]
    assert list(tmp_path.iterdir()) == []
