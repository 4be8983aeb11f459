"""Uploads over breaks, refusals and processes; with a real registry where there is one."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.errors import IntegrityError, NetworkError, StorageError
from localrun.registry.http import Http, HttpError
from localrun.registry.oci import upload as oci_upload
from localrun.registry.oci.blob import OutgoingBlob, UploadSession
from localrun.registry.oci.registry import MANIFESTS, OciRegistry
from tests.fakes.docker_registry import find_registry, running_registry
from tests.fakes.registry import FakeRegistry, digest_of
from tests.fakes.web import Reply, Request, Web, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1 << 17
DATA = hashlib.shake_256(b"seed").digest(5 * CHUNK // 2)
DIGEST = digest_of(DATA)
REPO = "team/tiny"


class Killed(Exception):  # noqa: N818 - not an error of the program
    """The process ends here."""


class Source:
    """A blob in memory that remembers from where it was opened."""

    def __init__(self, data: bytes = DATA, digest: str | None = None) -> None:
        self.data = data
        self.opened: list[int] = []
        self.blob = OutgoingBlob(
            digest=digest or digest_of(data), size_bytes=len(data), open_at=self.open_at
        )

    def open_at(self, start: int) -> BinaryIO:
        self.opened.append(start)
        return io.BytesIO(self.data[start:])


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_upload, "CHUNK_BYTES", CHUNK)


@pytest.fixture
def fake() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def web(fake: FakeRegistry) -> Iterator[Web]:
    with serving(fake) as web:
        yield web


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def registry(web: Web, tmp_path: Path, slept: list[float]) -> OciRegistry:
    return OciRegistry(Http({}), web.host, environ={}, home=tmp_path, sleep=slept.append)


def methods(web: Web) -> str:
    return " ".join(request.method for request in web.requests)


def test_a_blob_goes_up_in_chunks(fake: FakeRegistry, web: Web, registry: OciRegistry) -> None:
    positions: list[int] = []

    registry.upload_blob(REPO, Source().blob, on_bytes=positions.append)

    assert fake.blobs[REPO, DIGEST] == DATA
    assert methods(web) == "POST PATCH PATCH PATCH PUT"
    assert web.requests[2].headers["content-range"] == f"{CHUNK}-{2 * CHUNK - 1}"
    assert positions == sorted(positions)
    assert positions[-1] == len(DATA)


@pytest.mark.parametrize("data", [b"", b"1", b"22"])
def test_the_smallest_blobs_go_up(
    fake: FakeRegistry, web: Web, registry: OciRegistry, data: bytes
) -> None:
    registry.upload_blob(REPO, Source(data).blob)

    assert fake.blobs[REPO, digest_of(data)] == data
    assert methods(web) == ("POST PATCH PUT" if data else "POST PUT")


def test_chunks_are_as_large_as_the_registry_wants(fake: FakeRegistry, tmp_path: Path) -> None:
    def wants_more(request: Request) -> Reply:
        reply = fake(request)
        return Reply(
            reply.status, reply.body, {**reply.headers, "OCI-Chunk-Min-Length": str(2 * CHUNK)}
        )

    with serving(wants_more) as web:
        OciRegistry(Http({}), web.host, environ={}, home=tmp_path).upload_blob(REPO, Source().blob)

        assert methods(web) == "POST PATCH PATCH PUT"
        assert fake.blobs[REPO, DIGEST] == DATA


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, CHUNK), max_size=5), forgets=st.booleans())
def test_a_blob_arrives_whole_for_any_cuts(
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[int],
    forgets: bool,  # noqa: FBT001
) -> None:
    fake, slept = FakeRegistry(forgets_on_cut=forgets), list[float]()
    home = tmp_path_factory.getbasetemp()
    with serving(fake) as web:
        web.cuts = list(cuts)
        registry = OciRegistry(Http({}), web.host, environ={}, home=home, sleep=slept.append)

        registry.upload_blob(REPO, Source().blob)

    assert fake.blobs[REPO, DIGEST] == DATA


def test_after_a_cut_only_what_is_missing_is_sent(
    web: Web, registry: OciRegistry, slept: list[float]
) -> None:
    web.cuts = [CHUNK, 1000]
    source = Source()

    registry.upload_blob(REPO, source.blob)

    assert source.opened[:3] == [0, CHUNK, CHUNK + 1000]
    assert slept == [0.5]
    assert methods(web) == "POST PATCH PATCH GET PATCH PATCH PUT"


def test_an_upload_goes_on_in_another_process(
    fake: FakeRegistry, web: Web, registry: OciRegistry
) -> None:
    kept: list[str] = []
    source = Source()

    def keep(location: str) -> None:
        kept.append(location)
        if len(kept) == 3:
            raise Killed

    with pytest.raises(Killed):
        registry.upload_blob(REPO, source.blob, session=UploadSession(on_session=keep))
    registry.upload_blob(REPO, source.blob, session=UploadSession(location=kept[-1]))

    assert fake.blobs[REPO, DIGEST] == DATA
    assert source.opened == [0, CHUNK, 2 * CHUNK, 0]  # the last is the empty body of the PUT
    assert methods(web) == "POST PATCH PATCH GET PATCH PUT"


def test_a_forgotten_upload_begins_anew(
    fake: FakeRegistry, web: Web, registry: OciRegistry
) -> None:
    gone = UploadSession(location=f"{web.url}/v2/{REPO}/blobs/uploads/999?_state=old")

    registry.upload_blob(REPO, Source().blob, session=gone)

    assert fake.blobs[REPO, DIGEST] == DATA
    assert methods(web) == "GET HEAD POST PATCH PATCH PATCH PUT"


def test_other_bytes_of_an_older_upload_are_not_kept(
    fake: FakeRegistry, web: Web, registry: OciRegistry
) -> None:
    fake.uploads["77"] = b"other bytes"
    old = UploadSession(location=f"{web.url}/v2/{REPO}/blobs/uploads/77")

    registry.upload_blob(REPO, Source().blob, session=old)

    assert fake.blobs[REPO, DIGEST] == DATA


def test_an_older_upload_that_is_longer_than_the_blob_begins_anew(
    fake: FakeRegistry, web: Web, registry: OciRegistry
) -> None:
    fake.uploads["77"] = DATA + b"more"
    old = UploadSession(location=f"{web.url}/v2/{REPO}/blobs/uploads/77")

    registry.upload_blob(REPO, Source().blob, session=old)

    assert fake.blobs[REPO, DIGEST] == DATA


def test_a_416_tells_where_to_go_on(fake: FakeRegistry, web: Web, registry: OciRegistry) -> None:
    source, kept = Source(), list[str]()

    def lose_a_piece(location: str) -> None:
        kept.append(location)
        if len(kept) == 2:
            fake.uploads["1"] = DATA[:1000]

    registry.upload_blob(REPO, source.blob, session=UploadSession(on_session=lose_a_piece))

    assert source.opened[:3] == [0, CHUNK, 1000]
    assert fake.blobs[REPO, DIGEST] == DATA
    assert "GET" not in methods(web)


def test_a_lost_last_answer_is_a_finished_upload(
    fake: FakeRegistry, web: Web, registry: OciRegistry
) -> None:
    fake.loses_answers = 1

    registry.upload_blob(REPO, Source().blob)

    assert fake.blobs[REPO, DIGEST] == DATA
    assert methods(web) == "POST PATCH PATCH PATCH PUT GET HEAD"


def test_a_registry_without_chunks_gets_one_put(
    fake: FakeRegistry, web: Web, registry: OciRegistry, slept: list[float]
) -> None:
    fake.takes_chunks = False
    web.cuts = [CHUNK, 1000]  # the second is within the PUT

    registry.upload_blob(REPO, Source().blob)

    assert fake.blobs[REPO, DIGEST] == DATA
    assert methods(web) == "POST PATCH POST PUT HEAD POST PUT"
    assert len(slept) == 1


@pytest.mark.parametrize("takes_chunks", [True, False])
def test_bytes_of_another_digest_are_told(
    fake: FakeRegistry,
    registry: OciRegistry,
    takes_chunks: bool,  # noqa: FBT001
) -> None:
    fake.takes_chunks = takes_chunks

    with pytest.raises(IntegrityError, match="DIGEST_INVALID"):
        registry.upload_blob(REPO, Source(digest=digest_of(b"other")).blob)

    assert fake.blobs == {}


def test_a_registry_that_stores_other_bytes_is_told(fake: FakeRegistry, tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        reply = fake(request)
        has_digest = "Docker-Content-Digest" in reply.headers
        return Reply(201, headers={"Docker-Content-Digest": "sha256:0"}) if has_digest else reply

    with serving(answer) as web, pytest.raises(IntegrityError, match="another digest"):
        OciRegistry(Http({}), web.host, environ={}, home=tmp_path).upload_blob(REPO, Source().blob)


def test_a_blob_of_another_repository_is_mounted(
    fake: FakeRegistry, web: Web, registry: OciRegistry
) -> None:
    fake.blobs["team/base", DIGEST] = DATA
    source = Source()

    registry.upload_blob(REPO, source.blob, mount_from="team/base")

    assert fake.blobs[REPO, DIGEST] == DATA
    assert source.opened == []
    assert methods(web) == "POST"


def test_a_blob_that_cannot_be_mounted_is_uploaded(
    fake: FakeRegistry, web: Web, registry: OciRegistry
) -> None:
    registry.upload_blob(REPO, Source().blob, mount_from="team/base")

    assert fake.blobs[REPO, DIGEST] == DATA
    assert methods(web) == "POST PATCH PATCH PATCH PUT"


def test_an_upload_that_gains_nothing_ends(
    web: Web, registry: OciRegistry, slept: list[float]
) -> None:
    web.cuts = [0] * 50

    with pytest.raises(NetworkError):
        registry.upload_blob(REPO, Source().blob)

    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


@pytest.mark.parametrize(("status", "num_requests"), [(403, 1), (500, 1), (503, 1)])
def test_a_refused_upload_is_not_tried_again(
    tmp_path: Path, slept: list[float], status: int, num_requests: int
) -> None:
    with serving(lambda _: Reply(status)) as web, pytest.raises(HttpError):
        OciRegistry(Http({}), web.host, environ={}, home=tmp_path, sleep=slept.append).upload_blob(
            REPO, Source().blob
        )

    assert len(web.requests) == num_requests
    assert slept == []


def test_a_busy_registry_is_given_the_time_that_it_wants(
    fake: FakeRegistry, tmp_path: Path, slept: list[float]
) -> None:
    busy = [Reply(429, headers={"Retry-After": "7"}), Reply(503)]

    def answer(request: Request) -> Reply:
        return busy.pop(0) if request.method == "PUT" and busy else fake(request)

    with serving(answer) as web:
        OciRegistry(Http({}), web.host, environ={}, home=tmp_path, sleep=slept.append).upload_blob(
            REPO, Source().blob
        )

    assert slept == [7.0, 1.0]
    assert fake.blobs[REPO, DIGEST] == DATA


def test_a_registry_that_names_no_place_is_told(tmp_path: Path) -> None:
    with (
        serving(lambda _: Reply(202)) as web,
        pytest.raises(NetworkError, match="no upload location"),
    ):
        OciRegistry(Http({}), web.host, environ={}, home=tmp_path).upload_blob(REPO, Source().blob)


def test_a_file_that_has_become_shorter_is_told(registry: OciRegistry) -> None:
    source = Source()
    source.data = DATA[:-1]

    with pytest.raises(IntegrityError, match="shorter"):
        registry.upload_blob(REPO, source.blob)


def test_a_file_that_cannot_be_read_is_told(registry: OciRegistry, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    missing = OutgoingBlob(
        digest=DIGEST, size_bytes=9, open_at=lambda _: (tmp_path / "none").open("rb")
    )
    broken = OutgoingBlob(digest=DIGEST, size_bytes=9, open_at=lambda _: Broken())

    for blob in (missing, broken):
        with pytest.raises(StorageError, match="cannot read"):
            registry.upload_blob(REPO, blob)


# A real registry


@pytest.fixture(scope="session")
def real_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = find_registry()
    if program is None:
        pytest.skip("no docker-registry on the PATH or in LOCALRUN_TEST_REGISTRY")
    with running_registry(program, tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def real(real_host: str, tmp_path: Path) -> OciRegistry:
    return OciRegistry(Http({}), real_host, environ={}, home=tmp_path, sleep=lambda _: None)


def pulled(registry: OciRegistry, repo: str, digest: str, size: int) -> bytes:
    remote = registry.blob_file(repo, digest, size).sources[0]
    with Http({}).open(remote.url, credential=remote.credential) as response:
        assert response.status == 200
        return response.body()


@pytest.mark.parametrize("media_type", MANIFESTS)
def test_a_real_registry_gives_back_what_was_pushed(real: OciRegistry, media_type: str) -> None:
    repo, config = f"real/m{len(media_type)}", b'{"model_format": "gguf"}'
    value = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _descriptor("application/vnd.docker.container.image.v1+json", config),
        "layers": [_descriptor("application/vnd.ollama.image.model", DATA)],
    }
    content = json.dumps(value).encode()

    for data in (config, DATA):
        real.upload_blob(repo, Source(data).blob)
    digest = real.push_manifest(repo, "v1", content, media_type)

    assert real.manifest(repo, "v1") == real.manifest(repo, digest)
    assert real.manifest(repo, "v1").content == content
    assert real.manifest(repo, "v1").media_type == media_type
    assert real.tags(repo) == ["v1"]
    assert pulled(real, repo, DIGEST, len(DATA)) == DATA


def test_a_real_registry_goes_on_after_a_killed_process(real: OciRegistry) -> None:
    source, kept = Source(), list[str]()

    def keep(location: str) -> None:
        kept.append(location)
        if len(kept) == 3:
            raise Killed

    with pytest.raises(Killed):
        real.upload_blob("real/killed", source.blob, session=UploadSession(on_session=keep))
    real.upload_blob("real/killed", source.blob, session=UploadSession(location=kept[-1]))

    assert source.opened == [0, CHUNK, 2 * CHUNK, 0]
    assert pulled(real, "real/killed", DIGEST, len(DATA)) == DATA


def test_a_real_registry_gets_the_blob_whole_after_a_cut_chunk(real: OciRegistry) -> None:
    source, kept = Source(), list[str]()

    def cut(position: int) -> None:
        if position > CHUNK + CHUNK // 4:
            raise Killed

    with pytest.raises(Killed):
        real.upload_blob(
            "real/cut", source.blob, on_bytes=cut, session=UploadSession(on_session=kept.append)
        )
    real.upload_blob("real/cut", source.blob, session=UploadSession(location=kept[-1]))

    assert pulled(real, "real/cut", DIGEST, len(DATA)) == DATA


def test_a_real_registry_mounts(real: OciRegistry) -> None:
    source = Source(DATA[:1000])
    real.upload_blob("real/base", source.blob)
    source.opened.clear()

    real.upload_blob("real/mounted", source.blob, mount_from="real/base")

    assert source.opened == []
    assert real.has_blob("real/mounted", source.blob.digest)


def test_a_real_registry_refuses_a_wrong_digest(real: OciRegistry) -> None:
    wrong = Source(digest=digest_of(b"other"))

    with pytest.raises(IntegrityError, match="DIGEST_INVALID"):
        real.upload_blob("real/wrong", wrong.blob)

    assert not real.has_blob("real/wrong", wrong.blob.digest)


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(data)}
