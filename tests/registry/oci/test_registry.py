"""Manifests, blobs' addresses and tags of an OCI registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from localrun.errors import (
    IntegrityError,
    ModelNameError,
    ModelNotFoundError,
    NetworkError,
    UsageError,
)
from localrun.registry.http import Http, HttpError
from localrun.registry.oci.api import RegistryApi, origin_of_host
from localrun.registry.oci.registry import INDEXES, MANIFESTS, OciRegistry
from localrun.registry.origins import origin_of
from tests.fakes.registry import FakeRegistry, digest_of
from tests.fakes.web import Reply, Request, Web, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OCI, DOCKER = MANIFESTS
MODEL = {"schemaVersion": 2, "mediaType": OCI, "config": {}, "layers": []}
OLLAMA = {"schemaVersion": 2, "mediaType": DOCKER, "config": {}, "layers": []}
DIGEST = digest_of(b"a blob")


@pytest.fixture
def fake() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def web(fake: FakeRegistry) -> Iterator[Web]:
    with serving(fake) as web:
        yield web


def registry_at(web: Web, home: Path) -> OciRegistry:
    return OciRegistry(Http({}), web.host, environ={}, home=home)


@pytest.fixture
def registry(web: Web, tmp_path: Path) -> OciRegistry:
    return registry_at(web, tmp_path)


def entry(digest: str, **fields: object) -> dict[str, object]:
    return {"mediaType": OCI, "digest": digest, "size": 9, **fields}


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("registry.ollama.ai", "https://registry.ollama.ai"),
        ("ghcr.io", "https://ghcr.io"),
        ("team.example:5000", "https://team.example:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost", "http://localhost"),
        ("[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_a_host_is_reached_by_https_unless_it_is_this_machine(host: str, origin: str) -> None:
    assert origin_of_host(host) == origin


def test_http_is_used_where_it_is_asked_for() -> None:
    assert origin_of_host("team.example:5000", is_insecure=True) == "http://team.example:5000"


@pytest.mark.parametrize("host", ["a/b", "user@host", "host\\x", "", "a b", "host:port"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ModelNameError):
        origin_of_host(host)


@pytest.mark.parametrize("value", [MODEL, OLLAMA])
def test_a_manifest_comes_as_the_bytes_that_the_registry_has(
    fake: FakeRegistry, registry: OciRegistry, web: Web, value: dict[str, object]
) -> None:
    digest = fake.add_manifest("ai/tiny", "latest", value, str(value["mediaType"]))

    by_tag = registry.manifest("ai/tiny", "latest")
    by_digest = registry.manifest("ai/tiny", digest)

    assert by_tag == by_digest
    assert by_tag.digest == digest
    assert by_tag.media_type == value["mediaType"]
    assert json.loads(by_tag.content) == value
    assert all(kind in web.requests[0].headers["accept"] for kind in (*MANIFESTS, *INDEXES))


def test_bytes_of_another_digest_are_refused(fake: FakeRegistry, registry: OciRegistry) -> None:
    fake.add_manifest("ai/tiny", "latest", MODEL, OCI)
    fake.manifests["ai/tiny", DIGEST] = fake.manifests["ai/tiny", "latest"]

    with pytest.raises(IntegrityError, match="digest mismatch"):
        registry.manifest("ai/tiny", DIGEST)


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"[" * 100_000])
def test_what_is_no_manifest_is_refused(body: bytes, tmp_path: Path) -> None:
    with serving(lambda _: Reply(200, body)) as web, pytest.raises(IntegrityError, match="JSON"):
        registry_at(web, tmp_path).manifest("ai/tiny", "latest")


def test_a_header_that_names_another_digest_is_refused(tmp_path: Path) -> None:
    wrong = Reply(200, json.dumps(MODEL).encode(), {"Docker-Content-Digest": DIGEST})

    with serving(lambda _: wrong) as web, pytest.raises(IntegrityError, match=DIGEST):
        registry_at(web, tmp_path).manifest("ai/tiny", "latest")


def test_a_manifest_without_end_is_refused(tmp_path: Path) -> None:
    long = Reply(200, b" " * (5 << 20))

    with serving(lambda _: long) as web, pytest.raises(NetworkError, match="more than"):
        registry_at(web, tmp_path).manifest("ai/tiny", "latest")


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_of_one_model_is_that_model(
    fake: FakeRegistry, registry: OciRegistry, kind: str
) -> None:
    model = fake.add_manifest("ai/tiny", "inner", MODEL, OCI)
    others = [
        entry(digest_of(b"1"), annotations={"vnd.docker.reference.type": "attestation-manifest"}),
        entry(digest_of(b"2"), artifactType="application/vnd.dev.cosign.artifact.sig.v1+json"),
        entry("sha256:short"),
        {"mediaType": "text/plain", "digest": digest_of(b"3")},
        "nonsense",
    ]
    index = {"mediaType": kind, "manifests": [*others, entry(model)]}
    fake.add_manifest("ai/tiny", "latest", index, kind)

    assert registry.manifest("ai/tiny", "latest").digest == model


def test_an_index_of_several_models_is_named_as_one(
    fake: FakeRegistry, registry: OciRegistry, web: Web
) -> None:
    index = {"mediaType": INDEXES[0], "manifests": [entry(DIGEST), entry(digest_of(b"2"))]}
    fake.add_manifest("ai/tiny", "latest", index, INDEXES[0])

    with pytest.raises(UsageError, match="index of 2 models") as caught:
        registry.manifest("ai/tiny", "latest")

    assert caught.value.hint == f"localrun pull {web.host}/ai/tiny@{DIGEST}"


@pytest.mark.parametrize("listed", [[], None, "text"])
def test_an_index_without_a_model_says_so(
    fake: FakeRegistry, registry: OciRegistry, listed: object
) -> None:
    fake.add_manifest("ai/tiny", "latest", {"manifests": listed}, INDEXES[0])

    with pytest.raises(ModelNotFoundError, match="index without a model"):
        registry.manifest("ai/tiny", "latest")


def test_an_index_of_an_index_ends(fake: FakeRegistry, registry: OciRegistry) -> None:
    inner = fake.add_manifest("ai/tiny", "inner", {"manifests": []}, INDEXES[0])
    fake.add_manifest("ai/tiny", "latest", {"manifests": [entry(inner)]}, INDEXES[0])

    with pytest.raises(IntegrityError, match="index of indexes"):
        registry.manifest("ai/tiny", "latest")


def test_a_model_that_is_not_there_is_told_with_a_way_on(registry: OciRegistry, web: Web) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        registry.manifest("ai/none", "latest")

    assert caught.value.message == f"{web.host}/ai/none:latest does not exist"
    assert caught.value.hint == "localrun search none   finds models"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_registry_and_the_login(status: int, tmp_path: Path) -> None:
    denied = Reply(status, b'{"errors": [{"code": "DENIED", "message": "no"}]}')

    with serving(lambda _: denied) as web, pytest.raises(HttpError) as caught:
        registry_at(web, tmp_path).manifest("ai/tiny", "latest")

    assert f"{web.host} refuses {web.host}/ai/tiny:latest (DENIED)" in str(caught.value)
    assert caught.value.hint == f"docker login {web.host}"
    assert caught.value.status == status


def test_a_failing_registry_is_a_network_error(tmp_path: Path) -> None:
    with serving(lambda _: Reply(500, b"oops")) as web:
        registry = registry_at(web, tmp_path)
        asks: list[Callable[[], object]] = [
            lambda: registry.manifest("ai/tiny", "latest"),
            lambda: registry.has_blob("ai/tiny", DIGEST),
            lambda: registry.tags("ai/tiny"),
            lambda: registry.push_manifest("ai/tiny", "latest", b"{}", OCI),
        ]

        for ask in asks:
            with pytest.raises(HttpError, match="answers 500"):
                ask()


@pytest.mark.parametrize("repo", ["../x", "a//b", "", "a/..", "a b", "a?b"])
def test_what_is_no_repository_is_refused(registry: OciRegistry, repo: str) -> None:
    with pytest.raises(ModelNameError):
        registry.manifest(repo, "latest")


def test_a_blob_is_told_by_its_digest(fake: FakeRegistry, registry: OciRegistry, web: Web) -> None:
    fake.blobs["ai/tiny", DIGEST] = b"a blob"

    file = registry.blob_file("ai/tiny", DIGEST, 6)

    assert (file.digest, file.size_bytes) == (DIGEST, 6)
    assert file.sources[0].url == f"{web.url}/v2/ai/tiny/blobs/{DIGEST}"
    assert file.sources[0].credential is None
    assert file.sources[0].refresh is not None
    assert file.sources[0].refresh() is None
    assert registry.has_blob("ai/tiny", DIGEST)
    assert not registry.has_blob("ai/tiny", digest_of(b"other"))


def test_a_blob_in_other_storage_is_there(tmp_path: Path) -> None:
    away = Reply(307, headers={"Location": "https://storage.invalid/signed-for-get"})

    with serving(lambda _: away) as web:
        assert registry_at(web, tmp_path).has_blob("ai/tiny", DIGEST)


def test_a_pushed_manifest_comes_back(registry: OciRegistry) -> None:
    content = json.dumps(MODEL).encode()

    digest = registry.push_manifest("ai/tiny", "v1", content, OCI)

    assert digest == digest_of(content)
    assert registry.manifest("ai/tiny", "v1").content == content


def test_a_registry_that_stores_another_manifest_is_told(tmp_path: Path) -> None:
    other = Reply(201, headers={"Docker-Content-Digest": DIGEST})

    with serving(lambda _: other) as web, pytest.raises(IntegrityError, match=DIGEST):
        registry_at(web, tmp_path).push_manifest("ai/tiny", "v1", b"{}", OCI)


def test_tags_are_read_over_all_pages(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if "last" not in request.query:
            link = '</v2/ai/tiny/tags/list?last=b>; rel="next"'
            return Reply(200, b'{"tags": ["a", "b", 3]}', {"Link": link})
        return Reply(200, b'{"tags": null}')

    with serving(answer) as web:
        assert registry_at(web, tmp_path).tags("ai/tiny") == ["a", "b"]
        assert len(web.requests) == 2


def test_tags_end_with_a_registry_that_does_not(tmp_path: Path) -> None:
    same = Reply(200, b'{"tags": ["a"]}', {"Link": '<?last=a>; rel="next"'})

    with serving(lambda _: same) as web:
        assert len(registry_at(web, tmp_path).tags("ai/tiny")) == 100


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/v2/x", "https://team.example:5000/v2/x"),
        ("?n=1", "https://team.example:5000/v2/a?n=1"),
        ("https://storage.example/x?sig=1", "https://storage.example/x?sig=1"),
        ("http://team.example/v2/x?a=1", "https://team.example:5000/v2/x?a=1"),
    ],
)
def test_a_location_leads_on(tmp_path: Path, location: str, leads_to: str) -> None:
    api = RegistryApi(Http({}), "team.example:5000", environ={}, home=tmp_path)

    assert api.absolute("https://team.example:5000/v2/a", location) == leads_to


@pytest.mark.parametrize(
    "location", ["http://storage.example/x", "file:///etc/passwd", "ftp://team.example/", "//[x"]
)
def test_a_location_that_is_not_safe_is_refused(tmp_path: Path, location: str) -> None:
    api = RegistryApi(Http({}), "team.example", environ={}, home=tmp_path)

    with pytest.raises(NetworkError, match=r"sends an .* address"):
        api.absolute("https://team.example/v2/a", location)


@pytest.mark.parametrize(
    "url", ["https://evil.example\\@hub.example/", "https://a b/", "https://a\t/"]
)
def test_an_address_that_parsers_read_differently_is_none(url: str) -> None:
    with pytest.raises(NetworkError, match="not an address"):
        origin_of(url)


def test_storage_that_wants_a_login_is_not_given_ours(tmp_path: Path) -> None:
    denied = Reply(401, headers={"WWW-Authenticate": 'Bearer realm="http://127.0.0.1:1/token"'})
    with serving(lambda _: denied) as storage:
        away = Reply(307, headers={"Location": storage.url.replace("127.0.0.1", "localhost")})

        with serving(lambda _: away) as web, pytest.raises(HttpError, match=r"localhost:.* 401"):
            registry_at(web, tmp_path).manifest("ai/tiny", "latest")
