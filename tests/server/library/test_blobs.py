"""Uploads: verified, bounded, kept until a model names them."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from localrun.errors import OverloadedError, StorageError
from localrun.server.middleware.bodies import MAX_BODY_BYTES
from localrun.services.creating.uploads import KEPT_S, Uploads
from localrun.store.garbage import collect_garbage
from tests.e2e.conftest import wait_for
from tests.services.making import digest, gguf
from tests.unix_calls import num_open_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.services.workspace import Workspace
    from tests.server.serving import Served

CONTENT = gguf(5, 50_000)


def upload(served: Served, name: str, content: bytes | Iterator[bytes]) -> httpx.Response:
    return httpx.post(f"{served.url}/api/blobs/{name}", content=content)


def test_a_blob_is_there_once_it_was_sent(library: Served, workspace: Workspace) -> None:
    name = digest(CONTENT)
    url = f"{library.url}/api/blobs/{name}"

    before, sent, after = httpx.head(url), upload(library, name, CONTENT), httpx.head(url)
    again = upload(library, name, CONTENT)

    assert (before.status_code, sent.status_code, after.status_code) == (404, 201, 200)
    assert again.status_code == 200
    assert workspace.store.blobs.path(name).read_bytes() == CONTENT


def test_a_blob_that_is_here_is_taken_to_its_end(library: Served) -> None:
    content = gguf(6, 8_000_000)
    name = digest(content)
    upload(library, name, content)
    url = urlsplit(library.url)
    head = f"POST /api/blobs/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}"

    with socket.create_connection((url.hostname or "", url.port or 0), timeout=60) as sock:
        sock.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode() + content)
        answer = sock.recv(65536)

    assert answer.startswith(b"HTTP/1.1 200")


def test_wrong_bytes_are_refused_and_leave_nothing(library: Served, workspace: Workspace) -> None:
    response = upload(library, digest(CONTENT), CONTENT[:-1])

    assert response.status_code == 400
    assert "digest mismatch" in response.json()["error"]
    assert workspace.store.blobs.find(digest(CONTENT)) is None
    assert list(workspace.store.layout.tmp.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["sha256:12", "md5:" + "a" * 64, "..%2F..%2Fx", "sha256:" + "g" * 64]
)
def test_what_is_no_digest_touches_no_path(library: Served, name: str) -> None:
    assert upload(library, name, b"x").status_code in {400, 404}
    assert httpx.head(f"{library.url}/api/blobs/{name}").status_code in {400, 404}


def test_a_file_larger_than_any_other_body_takes_no_memory(library: Served) -> None:
    block = bytes(1 << 20)
    count = MAX_BODY_BYTES // len(block) + 64
    before = psutil.Process().memory_info().rss

    response = upload(library, digest(b""), (block for _ in range(count)))

    grown = psutil.Process().memory_info().rss - before
    assert response.status_code == 400  # all of it was read, to find that it is another
    assert grown < MAX_BODY_BYTES / 2


def test_a_sender_that_leaves_leaves_nothing(library: Served, workspace: Workspace) -> None:
    address, temporary = urlsplit(library.url), workspace.store.layout.tmp
    assert address.hostname is not None
    assert address.port is not None
    with socket.create_connection((address.hostname, address.port)) as raw:
        head = f"POST /api/blobs/{digest(CONTENT)} HTTP/1.1\r\nHost: localhost\r\n"
        raw.sendall(f"{head}Content-Length: {len(CONTENT)}\r\n\r\n".encode() + CONTENT[:20_000])
        wait_for(lambda: temporary.is_dir() and any(temporary.iterdir()))

    wait_for(lambda: not any(temporary.iterdir()))
    assert workspace.store.blobs.find(digest(CONTENT)) is None


def test_an_upload_is_kept_for_a_while_or_until_it_is_named(workspace: Workspace) -> None:
    now = 0.0
    uploads = Uploads(workspace.store, clock=lambda: now)

    def send(content: bytes) -> str:
        upload = uploads.begin(digest(content), None)
        upload.write(content)
        upload.finish()
        upload.close()
        return digest(content)

    first, second = send(b"first"), send(b"second")
    kept = collect_garbage(workspace.store).blobs
    uploads.release([second, "sha256:" + "0" * 64])
    released = collect_garbage(workspace.store).blobs
    now = KEPT_S + 1
    send(b"third")
    late = collect_garbage(workspace.store).blobs
    uploads.close()

    assert (kept, released, late) == ((), (second,), (first,))


def send(uploads: Uploads, content: bytes) -> str:
    upload = uploads.begin(digest(content), None)
    upload.write(content)
    upload.finish()
    upload.close()
    return digest(content)


def test_kept_uploads_share_one_open_file(workspace: Workspace) -> None:
    uploads = Uploads(workspace.store)
    send(uploads, b"first")
    before = num_open_files()

    sent = [send(uploads, b"%d" % number) for number in range(50)]
    grown = num_open_files() - before
    kept = collect_garbage(workspace.store).blobs
    uploads.release(sent[:25])
    released = collect_garbage(workspace.store).blobs
    uploads.close()

    assert grown <= 0
    assert kept == ()
    assert sorted(released) == sorted(sent[:25])


def test_of_too_many_kept_uploads_the_oldest_leave(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrun.services.creating.uploads.MAX_KEPT", 8)
    uploads = Uploads(workspace.store)

    sent = [send(uploads, b"%d" % number) for number in range(9)]
    left = collect_garbage(workspace.store).blobs
    uploads.close()

    assert sorted(left) == sorted(sent[:2])


def test_uploads_at_once_are_bounded_and_a_place_is_free_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrun.services.creating.uploads.MAX_UPLOADS", 2)
    uploads = Uploads(workspace.store)
    first, second = uploads.begin(digest(b"1"), None), uploads.begin(digest(b"2"), None)

    with pytest.raises(OverloadedError, match="uploads are open already"):
        uploads.begin(digest(b"3"), None)
    first.close()
    with pytest.raises(StorageError):
        uploads.begin(digest(b"3"), 1 << 62)
    third = uploads.begin(digest(b"3"), None)

    for upload in (second, third):
        upload.close()


def test_an_upload_that_cannot_begin_leaves_no_open_file(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(workspace.store)
    uploads.begin(digest(b"1"), None).close()
    before = num_open_files()

    open_path = Path.open

    def refuse_to_write(path: Path, mode: str = "r", **options: Any) -> IO[Any]:
        if mode == "wb":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return open_path(path, mode, **options)

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.open", refuse_to_write)
        with pytest.raises(StorageError, match="Too many open files"):
            uploads.begin(digest(b"2"), None)

    assert num_open_files() == before
    uploads.begin(digest(b"2"), None).close()
