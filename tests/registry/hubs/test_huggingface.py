"""Hugging Face, against a hub of our own."""

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
from localrun.registry.http import Http, HttpError, OfflineError, Response
from localrun.registry.hubs.huggingface import HuggingFace, _licence
from tests.fakes.faults import Fault
from tests.fakes.hub_wire import Refusal, json_reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.hub import FakeHub

REPO = "owner/model-GGUF"
MODEL = b"GGUF" * 100
FILES = {"model Q#1-Q4_K_M.gguf": MODEL, "README.md": b"hello", "f/m-Q8_0.gguf": b"GGUF"}
STRANGE = "hf_strange"  # known to nobody
DEAD = "http://127.0.0.1:1"
FAULTS: dict[str, tuple[Fault, type[LocalrunError], str]] = {
    "busy": (Fault.status(503, for_metadata=True, count=9), HttpError, "503"),
    "limit": (Fault.status(429, retry_after_s=7, for_metadata=True, count=9), HttpError, "429"),
    "portal": (Fault.garbage(count=9), NetworkError, "like a model hub"),
    "cut": (Fault.cut(5, for_metadata=True, count=9), NetworkError, "127.0.0.1"),
}


def client(hub: FakeHub | str, **environ: str) -> HuggingFace:
    endpoint = hub if isinstance(hub, str) else hub.url
    environ = {"HF_ENDPOINT": endpoint} | environ
    return HuggingFace(Http(environ), environ)


def refusal(hub: HuggingFace, repo: str, revision: str | None = None) -> LocalrunError:
    with pytest.raises(LocalrunError) as caught:
        hub.repository(repo, revision)
    assert "\n" not in caught.value.message
    return caught.value


def sent_tokens(hub: FakeHub) -> set[str]:
    return {request.token for request in hub.requests}


def stored(folder: Path) -> str:
    """Return HF_TOKEN_PATH of a login."""
    path = folder / "token"
    path.write_text("hf_stored\n")
    return str(path)


def test_a_repository_has_its_files_with_sizes_and_digests(hub: FakeHub) -> None:
    commit = hub.add(REPO, FILES)

    found = client(hub).repository(REPO, None)

    digest = f"sha256:{hashlib.sha256(MODEL).hexdigest()}"
    assert (found.name, found.revision) == (f"hf.co/{REPO}", commit)
    assert [(file.name, file.size_bytes) for file in found.files] == [
        ("model Q#1-Q4_K_M.gguf", 400),
        ("README.md", 5),
        ("f/m-Q8_0.gguf", 4),
    ]
    assert [file.digest for file in found.files[:2]] == [digest, None]


def test_every_url_leads_to_the_bytes_of_the_commit(hub: FakeHub) -> None:
    commit = hub.add(REPO, FILES)

    files = client(hub).repository(REPO, None).files
    hub.replace(REPO, "README.md", b"changed since")

    for file in files:
        (remote,) = file.sources
        with Http({}).open(remote.url) as response:
            assert response.body() == FILES[file.name]
        assert f"/{REPO}/resolve/{commit}/" in remote.url
        assert remote.name == hub.url.removeprefix("http://")
        assert remote.credential is None


def test_a_revision_is_an_older_commit(hub: FakeHub) -> None:
    commit = hub.add(REPO, FILES)
    hub.replace(REPO, "README.md", b"longer than before")

    found = client(hub).repository(REPO, commit)

    assert found.revision == commit
    assert found.files[1].size_bytes == 5


def test_the_token_goes_along_and_is_the_endpoints_only(hub: FakeHub) -> None:
    hub.add(REPO, FILES, private=True)

    found = client(hub, HF_TOKEN=f" {hub.token}\n").repository(REPO, None)

    credential = found.files[0].sources[0].credential
    assert credential
    assert credential.for_url(f"{hub.url}/x") == {"Authorization": f"Bearer {hub.token}"}
    assert credential.for_url("https://cdn.example/x") == {}
    assert hub.token not in repr(found)


def test_the_older_name_of_the_token_works(hub: FakeHub) -> None:
    hub.add(REPO, FILES, private=True)

    assert client(hub, HUGGING_FACE_HUB_TOKEN=hub.token).repository(REPO, None).files


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_no_token_is_sent_where_the_user_forbids_it(hub: FakeHub, value: str) -> None:
    hub.add(REPO, FILES)

    client(hub, HF_TOKEN=STRANGE, HF_HUB_DISABLE_IMPLICIT_TOKEN=value).repository(REPO, None)

    assert sent_tokens(hub) == {""}


def test_a_mirror_never_gets_the_stored_login(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    path = stored(tmp_path)

    found = client(hub, HF_TOKEN_PATH=path).repository(REPO, None)
    client(hub, HF_TOKEN_PATH=path).search("model", 3)

    assert found.files[0].sources[0].credential is None
    assert sent_tokens(hub) == {""}


@pytest.mark.parametrize(
    ("endpoint", "token"),
    [
        ("", "hf_stored"),
        ("https://huggingface.co/", "hf_stored"),
        ("hf.co", "hf_stored"),
        ("http://huggingface.co", None),
        ("https://huggingface.co.example.org", None),
        ("https://huggingface.co@example.org", None),
        ("https://hf-mirror.com", None),
    ],
)
def test_the_stored_login_is_for_the_hub_itself(
    tmp_path: Path, endpoint: str, token: str | None
) -> None:
    assert client(endpoint, HF_TOKEN_PATH=stored(tmp_path))._token() == token


def test_a_variable_goes_before_the_stored_login(tmp_path: Path) -> None:
    assert client("", HF_TOKEN=STRANGE, HF_TOKEN_PATH=stored(tmp_path))._token() == STRANGE


def test_a_token_that_is_none_is_told_without_it(hub: FakeHub) -> None:
    error = refusal(client(hub, HF_TOKEN=f"{STRANGE}é"), REPO)

    assert isinstance(error, UsageError)
    assert STRANGE not in str(error)


@pytest.mark.parametrize("endpoint", ["ftp://x", "http://", "https://x:port", "http://x/?y", "a b"])
def test_an_endpoint_that_is_no_address_is_told(endpoint: str) -> None:
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        client(endpoint)


def test_a_gated_repository_says_which_page_to_open(hub: FakeHub) -> None:
    hub.add(REPO, FILES, gated=True)

    error = refusal(client(hub), REPO)

    assert isinstance(error, HttpError)
    assert (error.status, "gated" in error.message) == (401, True)
    assert error.hint == (
        f"open https://huggingface.co/{REPO} and accept, "
        f"then HF_TOKEN=hf_... localrun pull hf.co/{REPO}"
    )


def test_a_gated_repository_refuses_a_token_that_is_not_let_in(hub: FakeHub) -> None:
    hub.add(REPO, FILES, gated=True)

    error = refusal(client(hub, HF_TOKEN=hub.token), REPO)

    assert isinstance(error, HttpError)
    assert (error.status, "with the token's account" in str(error.hint)) == (403, True)


def test_a_gated_repository_opens_for_one_who_is_let_in(hub: FakeHub) -> None:
    hub.add(REPO, FILES, gated=True)
    hub.grant(REPO)

    assert client(hub, HF_TOKEN=hub.token).repository(REPO, None).files


def test_to_find_the_gate_asks_the_hub_only(hub_with_cdn: FakeHub) -> None:
    hub_with_cdn.add(REPO, FILES, gated=True)
    hub_with_cdn.grant(REPO)

    client(hub_with_cdn, HF_TOKEN=hub_with_cdn.token).repository(REPO, None)

    assert [request.method for request in hub_with_cdn.requests] == ["GET", "HEAD"]
    assert hub_with_cdn.cdn_requests == []


def test_a_gate_before_the_listing_is_told_as_one(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        headers = {"X-Error-Code": "GatedRepo"}
        raise Refusal(json_reply({}, status=403, headers=headers))

    hub.add(REPO, FILES)
    monkeypatch.setattr("tests.fakes.hub_huggingface._find", refuse)

    error = refusal(client(hub), REPO)

    assert isinstance(error, HttpError)
    assert (error.status, "is gated" in error.message) == (403, True)


@pytest.mark.parametrize("is_private", [True, False])
def test_a_missing_and_a_private_repository_are_told_alike(
    hub: FakeHub, *, is_private: bool
) -> None:
    hub.add(REPO if is_private else "a/b", FILES, private=True)

    error = refusal(client(hub), REPO)

    assert isinstance(error, ModelNotFoundError)
    assert "has no repository owner/model-GGUF, or a private one" in error.message
    assert "HF_TOKEN=hf_..." in str(error.hint)


def test_a_missing_repository_does_not_ask_for_a_token_that_is_there(hub: FakeHub) -> None:
    error = refusal(client(hub, HF_TOKEN=hub.token), REPO)

    assert isinstance(error, ModelNotFoundError)
    assert "HF_TOKEN" not in str(error.hint)


def test_a_wrong_token_is_told_as_one(hub: FakeHub) -> None:
    hub.add(REPO, FILES, private=True)

    error = refusal(client(hub, HF_TOKEN=STRANGE), REPO)

    assert isinstance(error, HttpError)
    assert (error.status, "the token is invalid" in str(error.hint)) == (401, True)
    assert STRANGE not in f"{error} {error.hint}"


def test_a_missing_revision_is_told_as_one(hub: FakeHub) -> None:
    hub.add(REPO, FILES)

    error = refusal(client(hub), REPO, "v2/x")

    assert isinstance(error, ModelNotFoundError)
    assert "no revision 'v2/x'" in error.message


@pytest.mark.parametrize(
    "repo", ["model", "a/b/c", "a/b?x", "../b", "a/b--c", "", "a/b.git", f"a/{95 * 'b'}"]
)
def test_what_is_no_repositorys_name_is_told(hub: FakeHub, repo: str) -> None:
    assert isinstance(refusal(client(hub), repo), ModelNameError)
    assert hub.requests == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("is_search", [True, False])
def test_a_hub_in_trouble_is_told_in_a_line(hub: FakeHub, fault: str, *, is_search: bool) -> None:
    hub.add(REPO, FILES)
    happening, kind, said = FAULTS[fault]
    hub.faults.append(happening)

    with pytest.raises(kind, match=said) as caught:
        client(hub).search("m", 1) if is_search else client(hub).repository(REPO, None)

    assert "\n" not in caught.value.message
    assert getattr(caught.value, "retry_after_s", None) == (7.0 if fault == "limit" else None)


@pytest.mark.parametrize("status", [401, 403])
def test_a_bare_refusal_is_told(hub: FakeHub, status: int) -> None:
    hub.faults.append(Fault.status(status, path="/revision/", for_metadata=True))

    error = refusal(client(hub, HF_TOKEN=STRANGE), REPO, "main")

    assert isinstance(error, HttpError)
    assert error.status == status
    assert error.hint


def test_a_dead_endpoint_is_told_at_once() -> None:
    error = refusal(client(DEAD), REPO)

    assert isinstance(error, NetworkError)
    assert "127.0.0.1:1 does not answer" in error.message
    assert "HF_ENDPOINT" in str(error.hint)
    with pytest.raises(NetworkError, match="does not answer"):
        client(DEAD).search("x", 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"[]", b"7", b"{", b'{"siblings": [{}]}', b'{"siblings": {"a": 1}}',
        b'{"siblings": [{"rfilename": "a", "size": "x"}]}',
        b'{"siblings": [{"rfilename": "a", "lfs": "x"}]}',
        b'{"cardData": 1}', b'{"tags": [1]}',
    ],
)  # fmt: skip
def test_an_answer_that_is_no_listing_is_told(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(Response, "body", lambda *_: answer)
    hub.add(REPO, FILES)

    error = refusal(client(hub), REPO)

    assert "does not answer like a model hub" in error.message


def test_offline_makes_no_call(hub: FakeHub) -> None:
    offline = HuggingFace(Http({}, is_offline=True), {"HF_ENDPOINT": hub.url})

    with pytest.raises(OfflineError, match="LOCALRUN_OFFLINE"):
        offline.repository(REPO, None)
    with pytest.raises(OfflineError):
        offline.search("x", 1)
    assert hub.requests == []


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("is_search", [True, False])
def test_the_librarys_own_offline_switch_holds(
    hub: FakeHub, variable: str, *, is_search: bool
) -> None:
    hub.add(REPO, FILES)
    offline = client(hub, **{variable: "1"})

    with pytest.raises(OfflineError, match=variable):
        offline.search("x", 1) if is_search else offline.repository(REPO, None)

    assert hub.requests == []


def test_a_search_finds_the_most_loaded_first(hub: FakeHub) -> None:
    hub.add("a/model-GGUF", FILES, downloads=5, likes=1)
    hub.add("b/model-GGUF", FILES, downloads=9)
    hub.add("c/model", {"model.safetensors": b"x"}, downloads=99)
    hub.add("d/other-GGUF", FILES, downloads=99)

    found = client(hub).search("model", 5)

    assert [one.name for one in found] == ["hf.co/b/model-GGUF", "hf.co/a/model-GGUF"]
    assert (found[1].downloads, found[1].likes) == (5, 1)
    assert [file.name for file in found[0].files] == list(FILES)


def test_a_search_keeps_to_its_limit_and_takes_any_text(hub: FakeHub) -> None:
    hub.add("a/model-GGUF", FILES)
    hub.add("b/model-GGUF", FILES)

    assert len(client(hub).search("model", 1)) == 1
    assert client(hub).search("x&limit=9 ü", 5) == []


@pytest.mark.parametrize(
    ("card", "tags", "licence"),
    [
        ({"license": "apache-2.0"}, [], "apache-2.0"),
        ({"license": "other", "license_name": "qwen"}, ["license:other"], "qwen"),
        ({"license": "other"}, [], "other"),
        ({}, ["gguf", "license:mit"], "mit"),
        (None, ["license:mit"], "mit"),
        (None, None, None),
    ],
)
def test_the_licence_is_the_cards_or_the_tags(
    card: dict[str, str] | None, tags: list[str] | None, licence: str | None
) -> None:
    assert _licence({"cardData": card, "tags": tags}) == licence


def test_a_fresh_process_sends_nothing_about_the_user(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    code = (
        "import os, json; from localrun.registry.http import Http;"
        "from localrun.registry.hubs.huggingface import HuggingFace;"
        "print(json.dumps(len(HuggingFace(Http(os.environ), os.environ)"
        f".repository({REPO!r}, None).files)));"
        "import sys; assert 'huggingface_hub' not in sys.modules"
    )
    environ = {"HF_ENDPOINT": hub.url, "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}

    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True
    )

    assert (json.loads(done.stdout), done.stderr) == (3, "")
    assert [request.plain_path for request in hub.requests] == [f"/api/models/{REPO}"]
    assert hub.requests[0].headers["User-Agent"].startswith("localrun/")
    assert list(tmp_path.iterdir()) == []
