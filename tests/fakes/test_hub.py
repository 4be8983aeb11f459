"""The fake hub is right to the real clients of both hubs, and wrong in just the ways asked."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.faults import Fault
from tests.fakes.hub import FakeHub, fake_hub
from tests.measuring import wall_s
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi
    from modelscope_hub import HubApi

REPO = "owner/repo"
GGUF = "model-Q4_K_M.gguf"
DATA = random.Random(1).randbytes(3_000_000)  # noqa: S311 not for secrets
README = b"# A model\n"
FILE = f"/{REPO}/resolve/main/{GGUF}"
MS_FILE = f"/api/v1/models/{REPO}/repo?Revision=master&FilePath={GGUF}"
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "TQDM_DISABLE": "1",
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set the environment of both clients before the first of them is imported."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HOME", "MODELSCOPE_CACHE", "MODELSCOPE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture(params=[False, True], ids=["direct", "cdn"])
def hub(request: pytest.FixtureRequest) -> Iterator[FakeHub]:
    with fake_hub(cdn=request.param) as hub:
        yield stocked(hub)


@pytest.fixture
def direct_hub() -> Iterator[FakeHub]:
    with fake_hub() as hub:
        yield stocked(hub)


def stocked(hub: FakeHub) -> FakeHub:
    hub.add(REPO, {GGUF: DATA, "README.md": README, "sub/config.json": b"{}"})
    return hub


def hugging_face(hub: FakeHub, token: str | None = None) -> HfApi:
    import huggingface_hub

    return huggingface_hub.HfApi(endpoint=hub.url, token=token or False)


def model_scope(hub: FakeHub, token: str | None = None) -> HubApi:
    import modelscope_hub

    return modelscope_hub.HubApi(endpoint=hub.url, token=token)


class Got:
    """One answer, read to its end or to its break."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.is_broken = False
        try:
            self.body = response.read()
        except http.client.IncompleteRead as error:
            self.body, self.is_broken = error.partial, True
        except ConnectionResetError:
            self.body, self.is_broken = b"", True

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Got:
    """Ask without following redirects; an underscore in a header's name is a hyphen."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=HANG_S)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=names)
        return Got(connection.getresponse())
    finally:
        connection.close()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class TestHuggingFaceClient:
    def test_the_model_card_has_sizes_and_hashes(self, hub: FakeHub) -> None:
        info = hugging_face(hub).model_info(REPO, files_metadata=True)

        files = {file.rfilename: file for file in info.siblings or []}
        assert files[GGUF].size == len(DATA)
        blob = files[GGUF].lfs
        assert blob is not None
        assert blob.sha256 == sha256(DATA)
        assert files["README.md"].lfs is None
        assert info.tags == ["gguf"]
        assert info.gated is False

    def test_the_tree_has_sizes_and_hashes_over_pages(
        self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from huggingface_hub.hf_api import RepoFile

        monkeypatch.setattr("tests.fakes.hub_huggingface.TREE_PAGE", 1)

        entries = {one.path: one for one in hugging_face(hub).list_repo_tree(REPO, recursive=True)}

        assert set(entries) == {GGUF, "README.md", "sub", "sub/config.json"}
        assert isinstance(found := entries[GGUF], RepoFile)
        assert found.lfs is not None
        assert found.lfs.sha256 == sha256(DATA)

    def test_a_download_has_the_right_bytes(self, hub: FakeHub, tmp_path: Path) -> None:
        api = hugging_face(hub)

        for name, data in ((GGUF, DATA), ("README.md", README)):
            got = api.hf_hub_download(REPO, name, cache_dir=tmp_path)
            assert Path(got).read_bytes() == data

    def test_the_metadata_of_a_file_is_its_sha256(self, hub: FakeHub) -> None:
        import huggingface_hub

        meta = huggingface_hub.get_hf_file_metadata(hub.url + FILE)

        assert meta.etag == sha256(DATA)
        assert meta.size == len(DATA)
        assert meta.commit_hash == hub.repos[REPO].head.commit
        assert meta.xet_file_data is None

    def test_a_search_finds_by_name_and_tag(self, direct_hub: FakeHub) -> None:
        direct_hub.add("other/repo-2", {"model.safetensors": b"."})
        direct_hub.add("other/repo-3", {"m.gguf": b"."}, downloads=7, likes=3)

        found = list(hugging_face(direct_hub).list_models(search="REPO", filter="gguf", limit=5))

        assert [(one.id, one.downloads, one.likes) for one in found] == [
            ("other/repo-3", 7, 3),
            (REPO, 0, 0),
        ]

    def test_each_error_is_the_clients_own_class(self, direct_hub: FakeHub) -> None:
        import huggingface_hub
        from huggingface_hub import errors

        direct_hub.add("owner/gated", {GGUF: b"."}, gated=True)
        direct_hub.add("owner/private", {GGUF: b"."}, private=True)
        at = f"{direct_hub.url}/%s/resolve/%s/%s"
        cases: list[tuple[str, str, str, str | None, type[Exception]]] = [
            ("owner/none", "main", GGUF, None, errors.RepositoryNotFoundError),
            ("owner/none", "main", GGUF, direct_hub.token, errors.RepositoryNotFoundError),
            (REPO, "master2", GGUF, None, errors.RevisionNotFoundError),
            (REPO, "main", "none.gguf", None, errors.EntryNotFoundError),
            ("owner/gated", "main", GGUF, None, errors.GatedRepoError),
            ("owner/gated", "main", GGUF, direct_hub.token, errors.GatedRepoError),
            ("owner/private", "main", GGUF, None, errors.RepositoryNotFoundError),
            ("owner/private", "main", GGUF, "hf_wrong", errors.HfHubHTTPError),
        ]

        for repo, revision, path, token, error in cases:
            with pytest.raises(error):
                huggingface_hub.get_hf_file_metadata(
                    at % (repo, revision, path), token=token or False
                )

    def test_the_right_token_opens_what_is_closed(
        self, direct_hub: FakeHub, tmp_path: Path
    ) -> None:
        direct_hub.add("owner/gated", {GGUF: b"."}, gated=True)
        direct_hub.add("owner/private", {GGUF: b"."}, private=True)
        direct_hub.grant("owner/gated")
        api = hugging_face(direct_hub, direct_hub.token)

        for repo in ("owner/gated", "owner/private"):
            assert Path(api.hf_hub_download(repo, GGUF, cache_dir=tmp_path)).read_bytes() == b"."
        assert api.whoami()["name"] == "tester"

    def test_a_token_stays_away_from_the_cdn(self, tmp_path: Path) -> None:
        with fake_hub(cdn=True) as hub:
            stocked(hub)

            hugging_face(hub, hub.token).hf_hub_download(REPO, GGUF, cache_dir=tmp_path)

            assert len(hub.cdn_requests) == 1
            assert "Authorization" in hub.requests[0].headers
            assert not hub.has_leaked_token

    def test_wrong_bytes_get_past_this_client(self, hub: FakeHub, tmp_path: Path) -> None:
        hub.faults.append(Fault.flip(1000))

        got = Path(hugging_face(hub).hf_hub_download(REPO, GGUF, cache_dir=tmp_path)).read_bytes()

        assert len(got) == len(DATA)
        assert sha256(got) != sha256(DATA)

    def test_a_cut_is_resumed_by_this_client(self, hub: FakeHub, tmp_path: Path) -> None:
        hub.faults.append(Fault.cut(1_000_000))

        got = hugging_face(hub).hf_hub_download(REPO, GGUF, cache_dir=tmp_path)

        assert Path(got).read_bytes() == DATA
        assert not hub.faults


class TestModelScopeClient:
    def test_the_list_has_sizes_and_hashes(self, hub: FakeHub) -> None:
        files = {one.path: one for one in model_scope(hub).list_repo_files(REPO, "model")}

        assert files[GGUF].size == len(DATA)
        assert files[GGUF].sha256 == sha256(DATA)
        assert files["sub"].is_dir

    def test_a_download_has_the_right_bytes(self, hub: FakeHub, tmp_path: Path) -> None:
        api = model_scope(hub)

        for name, data in ((GGUF, DATA), ("README.md", README)):
            got = api.download_file(
                REPO, "model", name, local_dir=tmp_path, expected_sha256=sha256(data)
            )
            assert Path(got).read_bytes() == data

    def test_a_cut_is_resumed_by_this_client(self, hub: FakeHub, tmp_path: Path) -> None:
        hub.faults.append(Fault.cut(1_000_000))

        got = model_scope(hub).download_file(
            REPO, "model", GGUF, local_dir=tmp_path, expected_sha256=sha256(DATA)
        )

        assert Path(got).read_bytes() == DATA
        starts = [one.range[0] for one in hub.file_requests if one.range]
        assert starts
        assert set(starts) == {1_000_000}

    def test_each_error_is_the_clients_own_class(self, direct_hub: FakeHub) -> None:
        from modelscope_hub import errors

        direct_hub.add("owner/gated", {GGUF: b"."}, gated=True)
        direct_hub.add("owner/private", {GGUF: b"."}, private=True)
        api = model_scope(direct_hub)

        for repo in ("owner/none", "owner/private"):
            with pytest.raises(errors.NotExistError):
                api.list_repo_files(repo, "model")
        with pytest.raises(errors.PermissionDeniedError):
            api.download_file("owner/gated", "model", GGUF)

    def test_the_right_token_opens_what_is_closed(
        self, direct_hub: FakeHub, tmp_path: Path
    ) -> None:
        direct_hub.add("owner/private", {GGUF: b"."}, private=True)
        direct_hub.add("owner/gated", {GGUF: b"."}, gated=True)
        direct_hub.grant("owner/gated")
        api = model_scope(direct_hub, direct_hub.token)

        for repo in ("owner/private", "owner/gated"):
            got = api.download_file(repo, "model", GGUF, local_dir=tmp_path / repo)
            assert Path(got).read_bytes() == b"."

    def test_the_branches_are_listed(self, direct_hub: FakeHub) -> None:
        branches = ask(direct_hub.url, f"/api/v1/models/{REPO}/revisions").json["Data"]

        assert branches["RevisionMap"]["Branches"][0]["Revision"] == "master"

    @pytest.mark.parametrize("method", ["PUT", "GET"])
    def test_a_search_is_paged(self, direct_hub: FakeHub, method: str) -> None:
        direct_hub.add("other/repo-2", {GGUF: b"."}, downloads=9)
        asked = {"Name": "repo", "PageSize": 1, "PageNumber": 1}
        query = "?Name=repo&PageSize=1&PageNumber=1" if method == "GET" else ""
        body = json.dumps(asked) if method == "PUT" else None

        got = ask(direct_hub.url, f"/api/v1/dolphin/models{query}", method, body).json

        assert got["Success"]
        assert got["Data"]["Model"]["TotalCount"] == 2
        first = got["Data"]["Model"]["Models"][0]
        assert (first["Path"], first["Name"], first["Downloads"]) == ("other", "repo-2", 9)


class TestRanges:
    @pytest.mark.parametrize(
        ("asked", "start", "stop"),
        [
            ("bytes=0-9", 0, 10),
            ("bytes=10-", 10, 3_000_000),
            ("bytes=2999990-9999999", 2_999_990, 3_000_000),
            ("bytes=-5", 2_999_995, 3_000_000),
        ],
    )
    @pytest.mark.parametrize("path", [FILE, MS_FILE, "/files/a.bin"])
    def test_a_part_is_the_part_asked_for(
        self, direct_hub: FakeHub, path: str, asked: str, start: int, stop: int
    ) -> None:
        direct_hub.add_file("a.bin", DATA)

        got = ask(direct_hub.url, path, Range=asked)

        assert got.status == 206
        assert got.body == DATA[start:stop]
        assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"

    @pytest.mark.parametrize("path", [FILE, MS_FILE])
    def test_past_the_end_there_is_nothing(self, direct_hub: FakeHub, path: str) -> None:
        got = ask(direct_hub.url, path, Range=f"bytes={len(DATA)}-")

        assert got.status == 416
        assert got.headers["Content-Range"] == f"bytes */{len(DATA)}"

    def test_a_part_of_a_file_on_disk_is_the_same(
        self, direct_hub: FakeHub, tmp_path: Path
    ) -> None:
        (tmp_path / "big.bin").write_bytes(DATA)
        direct_hub.add_file("big.bin", tmp_path / "big.bin")

        got = ask(direct_hub.url, "/files/big.bin", Range="bytes=1000000-1999999")

        assert got.body == DATA[1_000_000:2_000_000]

    def test_the_requests_are_remembered(self, direct_hub: FakeHub) -> None:
        ask(direct_hub.url, FILE, Range="bytes=5-9", X_Test="yes")
        ask(direct_hub.url, FILE, "HEAD")

        first, second = direct_hub.requests
        assert (first.method, first.path, first.range) == ("GET", FILE, (5, 9))
        assert first.headers["x-test"] == "yes"
        assert (second.method, second.range) == ("HEAD", None)

    def test_another_file_is_not_continued(self, direct_hub: FakeHub) -> None:
        direct_hub.add_file("a.bin", b"old bytes", etag='"one"')
        old = ask(direct_hub.url, "/files/a.bin", "HEAD").headers
        same = ask(direct_hub.url, "/files/a.bin", Range="bytes=4-", If_Range='"one"')
        direct_hub.add_file("a.bin", b"new bytes", etag='"two"')

        got = [
            ask(direct_hub.url, "/files/a.bin", Range="bytes=4-", If_Range=known)
            for known in ('"one"', old["Last-Modified"])
        ]

        assert (same.status, same.body) == (206, b"bytes")
        assert [(one.status, one.body) for one in got] == [(200, b"new bytes")] * 2

    def test_what_is_known_is_not_sent_again(self, direct_hub: FakeHub) -> None:
        direct_hub.add_file("a.bin", b"bytes", etag='"one"')
        direct_hub.add_file("no-etag.bin", b"bytes", etag="")

        got = ask(direct_hub.url, "/files/a.bin", If_None_Match='"zero", "one"')

        assert (got.status, got.body) == (304, b"")
        assert "ETag" not in ask(direct_hub.url, "/files/no-etag.bin", "HEAD").headers
        assert ask(direct_hub.url, "/files/none.bin").status == 404

    def test_a_replaced_file_is_another_commit_and_the_old_one_stays(
        self, direct_hub: FakeHub
    ) -> None:
        old = direct_hub.repos[REPO].head.commit
        old_etag = ask(direct_hub.url, FILE, "HEAD").headers["X-Linked-Etag"]

        new = direct_hub.replace(REPO, GGUF, b"GGUF new")

        got = ask(direct_hub.url, FILE, Range="bytes=5-", If_Range=old_etag)
        assert (got.status, got.body) == (200, b"GGUF new")
        assert got.headers["X-Repo-Commit"] == new != old
        assert ask(direct_hub.url, FILE.replace("main", old)).body == DATA


class TestFaults:
    def strike(self, hub: FakeHub, fault: Fault, path: str = FILE, **headers: str) -> Got:
        """Return the spoiled answer, once the next one has been seen to be right."""
        hub.faults.append(fault)
        got = ask(hub.url, path, **headers)
        assert not hub.faults
        after = ask(hub.url, path)
        assert after.status == 200
        assert path != FILE or after.body == DATA
        return got

    @pytest.mark.parametrize("reset", [False, True])
    def test_cut(self, direct_hub: FakeHub, reset: bool) -> None:  # noqa: FBT001
        got = self.strike(direct_hub, Fault.cut(1000, reset=reset))

        assert got.is_broken
        assert got.headers["Content-Length"] == str(len(DATA))
        if not reset:
            assert got.body == DATA[:1000]

    def test_ignored_range(self, direct_hub: FakeHub) -> None:
        got = self.strike(direct_hub, Fault.ignore_ranges(), Range="bytes=1000-")

        assert got.status == 200
        assert got.body == DATA
        assert "Content-Range" not in got.headers

    def test_length_too_large(self, direct_hub: FakeHub) -> None:
        got = self.strike(direct_hub, Fault.length(100))

        assert got.is_broken
        assert got.body == DATA
        assert got.headers["Content-Length"] == str(len(DATA) + 100)

    def test_length_too_small(self, direct_hub: FakeHub) -> None:
        got = self.strike(direct_hub, Fault.length(-100))

        assert not got.is_broken
        assert got.body == DATA[:-100]

    def test_flipped_bytes_are_those_of_the_file(self, direct_hub: FakeHub) -> None:
        direct_hub.faults.append(Fault.flip(1500, 2, count=2))

        whole = ask(direct_hub.url, FILE).body
        part = ask(direct_hub.url, FILE, Range="bytes=1501-1600").body

        wrong = [at for at in range(3000) if whole[at] != DATA[at]]
        assert wrong == [1500, 1501]
        assert len(whole) == len(DATA)
        assert part == whole[1501:1601]

    def test_flipped_bytes_of_a_file_on_disk(self, direct_hub: FakeHub, tmp_path: Path) -> None:
        (tmp_path / "big.bin").write_bytes(DATA)
        direct_hub.add_file("big.bin", tmp_path / "big.bin")
        direct_hub.faults.append(Fault.flip(5, 1))

        got = ask(direct_hub.url, "/files/big.bin").body

        assert got == DATA[:5] + bytes([DATA[5] ^ 0xFF]) + DATA[6:]

    def test_redirect(self, direct_hub: FakeHub) -> None:
        got = self.strike(direct_hub, Fault.redirect("http://127.0.0.1:1/elsewhere"))

        assert got.status == 302
        assert got.headers["Location"] == "http://127.0.0.1:1/elsewhere"

    def test_stall_lasts_until_the_client_leaves(self, direct_hub: FakeHub) -> None:
        direct_hub.faults.append(Fault.stall(1000))
        connection = http.client.HTTPConnection(urlsplit(direct_hub.url).netloc, timeout=HANG_S)
        connection.request("GET", FILE)
        response = connection.getresponse()

        assert response.read(1000) == DATA[:1000]
        connection.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            response.read(1)
        response.close()
        connection.close()

    def test_a_stall_does_not_keep_the_hub_open(self) -> None:
        with fake_hub() as hub:
            stocked(hub).faults.append(Fault.stall())
            connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=HANG_S)
            connection.request("GET", FILE)
            response = connection.getresponse()

        with pytest.raises(http.client.IncompleteRead):
            response.read()
        connection.close()

    def test_status(self, direct_hub: FakeHub) -> None:
        busy = self.strike(direct_hub, Fault.status(429, retry_after_s=3))
        broken = self.strike(direct_hub, Fault.status(503))

        assert (busy.status, busy.headers["Retry-After"]) == (429, "3")
        assert (broken.status, broken.headers["Retry-After"]) == (503, None)

    def test_drip(self, direct_hub: FakeHub) -> None:
        direct_hub.add_file("slow.bin", DATA[:1000])
        direct_hub.faults.append(Fault.drip(5000))
        got: list[Got] = []

        took_s = wall_s(lambda: got.append(ask(direct_hub.url, "/files/slow.bin")))

        assert got[0].body == DATA[:1000]
        assert took_s > 0.1

    def test_wrong_range(self, direct_hub: FakeHub) -> None:
        got = self.strike(direct_hub, Fault.wrong_range(-10), Range="bytes=1000-1999")

        assert got.status == 206
        assert got.headers["Content-Range"] == f"bytes 990-1999/{len(DATA)}"
        assert got.body == DATA[990:2000]

    def test_a_fault_of_ranges_waits_for_a_range(self, direct_hub: FakeHub) -> None:
        direct_hub.faults += [Fault.wrong_range(-10), Fault.ignore_ranges()]

        assert ask(direct_hub.url, FILE).body == DATA
        assert len(direct_hub.faults) == 2

    def test_empty(self, direct_hub: FakeHub) -> None:
        got = self.strike(direct_hub, Fault.empty())

        assert (got.status, got.body, got.headers["Content-Length"]) == (200, b"", "0")

    @pytest.mark.parametrize("path", [f"/api/models/{REPO}", f"/api/v1/models/{REPO}/repo/files"])
    def test_garbage_is_for_metadata(self, direct_hub: FakeHub, path: str) -> None:
        direct_hub.faults.append(Fault.garbage())
        assert ask(direct_hub.url, FILE).body == DATA
        direct_hub.faults.clear()

        got = self.strike(direct_hub, Fault.garbage(), path)

        assert got.status == 200
        with pytest.raises(ValueError, match="Expecting value"):
            _ = got.json

    def test_a_fault_of_metadata_strikes_a_head(self, direct_hub: FakeHub) -> None:
        direct_hub.faults.append(Fault.status(500, for_metadata=True, path="/resolve/"))

        assert ask(direct_hub.url, f"/api/models/{REPO}").status == 200
        assert ask(direct_hub.url, FILE).status == 200
        assert ask(direct_hub.url, FILE, "HEAD").status == 500
        assert ask(direct_hub.url, FILE, "HEAD").status == 200

    def test_faults_come_in_order_by_count_and_path(self, direct_hub: FakeHub) -> None:
        direct_hub.faults += [
            Fault.status(404, path="nobody"),
            Fault.status(500, count=2),
            Fault.status(502, path=GGUF),
        ]

        seen = [ask(direct_hub.url, FILE).status for _ in range(4)]

        assert seen == [500, 500, 502, 200]
        assert [fault.path for fault in direct_hub.faults] == ["nobody"]


class TestCdn:
    def test_the_hub_sends_to_another_origin(self) -> None:
        with fake_hub(cdn=True) as hub:
            stocked(hub)
            told = ask(hub.url, FILE, "HEAD")
            location = told.headers["Location"]

            got = ask(hub.cdn_url, location.removeprefix(hub.cdn_url), Authorization="Bearer x")

            assert told.status == 302
            assert told.headers["X-Linked-Etag"] == f'"{sha256(DATA)}"'
            assert told.headers["X-Linked-Size"] == str(len(DATA))
            assert location.startswith(f"{hub.cdn_url}/cdn/{sha256(DATA)}?expires=")
            assert hub.cdn_url != hub.url
            assert got.body == DATA
            assert hub.has_leaked_token
            assert ask(hub.url, FILE.replace(GGUF, "README.md")).body == README

    def test_an_expired_url_stays_expired_and_a_new_one_works(self) -> None:
        with fake_hub(cdn=True) as hub:
            stocked(hub).faults.append(Fault.expire(path=GGUF))
            first = ask(hub.url, FILE).headers["Location"].removeprefix(hub.cdn_url)

            expired = [ask(hub.cdn_url, first).status for _ in range(2)]
            second = ask(hub.url, FILE).headers["Location"].removeprefix(hub.cdn_url)

            assert expired == [403, 403]
            assert ask(hub.cdn_url, second, Range="bytes=0-9").body == DATA[:10]

    def test_a_signature_lasts_only_so_long(self) -> None:
        with fake_hub(cdn=True) as hub:
            stocked(hub).cdn_ttl_s = -10
            location = ask(hub.url, FILE).headers["Location"].removeprefix(hub.cdn_url)

            assert ask(hub.cdn_url, location).status == 403
            assert ask(hub.cdn_url, location.replace("sig=", "sig=0")).status == 403
            assert ask(hub.cdn_url, FILE).status == 404

    def test_faults_of_bytes_strike_at_the_cdn(self) -> None:
        with fake_hub(cdn=True) as hub:
            stocked(hub).faults += [Fault.cut(10, path=GGUF), Fault.status(500, for_metadata=True)]

            assert ask(hub.url, FILE).status == 500
            location = ask(hub.url, FILE).headers["Location"].removeprefix(hub.cdn_url)
            assert ask(hub.cdn_url, location).is_broken


@pytest.mark.parametrize("path", ["/api/agent-harnesses", "/api/v1/repos/internalAccelerationInfo"])
def test_there_is_no_more_than_asked(direct_hub: FakeHub, path: str) -> None:
    assert ask(direct_hub.url, path).status == 404


def test_a_connection_serves_many_requests(direct_hub: FakeHub) -> None:
    connection = http.client.HTTPConnection(urlsplit(direct_hub.url).netloc, timeout=HANG_S)
    connection.request("GET", FILE)
    assert connection.getresponse().read() == DATA
    sock = connection.sock

    connection.request("GET", f"/api/models/{REPO}")

    assert connection.getresponse().status == 200
    assert connection.sock is sock
    connection.close()


def test_the_program_serves_a_folder(tmp_path: Path) -> None:
    (tmp_path / REPO / "sub").mkdir(parents=True)
    (tmp_path / REPO / "sub" / GGUF).write_bytes(DATA)
    command = [sys.executable, "-m", "tests.fakes.hub", str(tmp_path)]
    root = Path(__file__).parents[2]

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ}
    ) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        got = ask(url, f"/{REPO}/resolve/main/sub/{GGUF}")
        program.send_signal(signal.SIGINT)

    assert got.body == DATA
    assert program.returncode == 0
