"""Logins at OCI registries: challenges, tokens, and who may have the password."""

from __future__ import annotations

import base64
import itertools
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from localrun.errors import NetworkError
from localrun.registry.http import Http, HttpError
from localrun.registry.oci.accounts import Account
from localrun.registry.oci.auth import RegistryAuth
from localrun.registry.oci.blob import OutgoingBlob
from localrun.registry.oci.challenges import Challenge, may_have_password, parse_challenge
from localrun.registry.oci.registry import OciRegistry
from tests.fakes.registry import FakeRegistry, digest_of
from tests.fakes.web import Reply, Request, Web, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SECRET = "s3cret-pass"  # noqa: S105 - of a fake
BASIC = f"Basic {base64.b64encode(f'ada:{SECRET}'.encode()).decode()}"
PULL = ("repository:ai/tiny:pull",)
DIGEST = digest_of(b"a blob")


@dataclass(slots=True)
class Guarded:
    """A registry that wants a token for each scope, and the realm that gives them."""

    registry: FakeRegistry = field(default_factory=FakeRegistry)
    realm: str = ""  # where it is, when not here
    scheme: str = "bearer"
    life_s: object = 300
    names_scope: bool = True
    good: set[str] = field(default_factory=set)  # Authorization headers that open it
    needs_login: bool = False
    token_reply: Reply | None = None
    url: str = ""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            return self._token(request)
        if request.authorization in self.good:
            return self.registry(request)
        return Reply(401, b"{}", {"WWW-Authenticate": self._challenge(request)})

    def _challenge(self, request: Request) -> str:
        if self.scheme == "basic":
            return 'Basic realm="registry"'
        scope = ""
        if self.names_scope and len(parts := request.path.split("/")) > 4:
            may = "pull" if request.method in {"GET", "HEAD"} else "pull,push"
            scope = f',scope="repository:{"/".join(parts[2:4])}:{may}"'
        return f'Bearer realm="{self.realm or self.url}/token",service="fake"{scope}'

    def _token(self, request: Request) -> Reply:
        if self.token_reply is not None:
            return self.token_reply
        if self.needs_login and request.authorization != BASIC and request.method == "GET":
            return Reply(401)
        token = f"token-{next(self.numbers)}"
        self.good.add(f"Bearer {token}")
        return Reply(200, json.dumps({"token": token, "expires_in": self.life_s}).encode())


@pytest.fixture
def guarded() -> Guarded:
    guarded = Guarded()
    guarded.registry.add_manifest("ai/tiny", "latest", {"layers": []}, MANIFEST)
    guarded.registry.blobs["ai/tiny", DIGEST] = b"a blob"
    return guarded


@pytest.fixture
def web(guarded: Guarded) -> Iterator[Web]:
    with serving(guarded) as web:
        guarded.url = web.url
        yield web


@pytest.fixture
def registry(web: Web, tmp_path: Path) -> OciRegistry:
    return OciRegistry(Http({}), web.host, environ={}, home=tmp_path)


def log_in(home: Path, host: str, **entry: str) -> None:
    entry = entry or {"auth": BASIC.removeprefix("Basic ")}
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {host: entry}}))


def tokens_asked(web: Web) -> list[Request]:
    return [request for request in web.requests if request.path == "/token"]


def test_a_stranger_gets_a_token_for_the_scope(registry: OciRegistry, web: Web) -> None:
    registry.manifest("ai/tiny", "latest")

    (asked,) = tokens_asked(web)
    assert asked.query == {"service": ["fake"], "scope": list(PULL)}
    assert asked.authorization is None


def test_a_token_is_used_again_for_its_scope_only(registry: OciRegistry, web: Web) -> None:
    registry.manifest("ai/tiny", "latest")
    registry.manifest("ai/tiny", "latest")
    registry.has_blob("ai/tiny", DIGEST)
    registry.push_manifest("ai/tiny", "v2", b"{}", MANIFEST)

    scopes = [asked.query["scope"] for asked in tokens_asked(web)]
    assert scopes == [list(PULL), ["repository:ai/tiny:pull,push"]]
    assert sum(request.authorization is None for request in web.requests) == 3  # 1 and 2 tokens


def test_a_mount_asks_for_both_repositories(registry: OciRegistry, web: Web) -> None:
    blob = OutgoingBlob(digest=DIGEST, size_bytes=6, open_at=lambda _: pytest.fail("not read"))

    registry.upload_blob("ai/other", blob, mount_from="ai/tiny")

    assert tokens_asked(web)[0].query["scope"] == ["repository:ai/other:pull,push", *PULL]


def test_a_blob_comes_with_the_token_and_a_way_to_the_next(
    registry: OciRegistry, guarded: Guarded, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.manifest("ai/tiny", "latest")
    remote = registry.blob_file("ai/tiny", DIGEST, 6).sources[0]
    assert remote.credential is not None
    assert remote.refresh is not None
    assert remote.credential.for_url("https://cdn.example/blob") == {}

    guarded.good.clear()
    monkeypatch.setattr("localrun.registry.oci.auth.JUST_NOW_S", 0.0)
    better = remote.refresh()

    assert better is not None
    assert better != remote.credential
    with Http({}).open(remote.url, credential=better) as response:
        assert response.body() == b"a blob"
    assert len(tokens_asked(web)) == 2


def test_a_blob_without_a_manifest_before_it_finds_the_login(
    registry: OciRegistry, guarded: Guarded
) -> None:
    remote = registry.blob_file("ai/tiny", DIGEST, 6).sources[0]
    assert remote.credential is None
    assert remote.refresh is not None

    credential = remote.refresh()

    assert credential is not None
    assert set(credential.headers.values()) <= guarded.good


def test_many_threads_renew_a_token_once(registry: OciRegistry, web: Web) -> None:
    refresh = registry.blob_file("ai/tiny", DIGEST, 6).sources[0].refresh
    assert refresh is not None

    assert refresh() is refresh()

    assert len(tokens_asked(web)) == 1


@pytest.mark.parametrize(("life", "until"), [(300, 290), (20, 18), (None, 54), ("30", 27), (0, 54)])
def test_a_token_is_renewed_before_it_ends(
    guarded: Guarded, web: Web, life: object, until: int
) -> None:
    guarded.life_s = life
    now = [1000.0]
    auth = RegistryAuth(Http({}), web.host, web.url, lambda: None, clock=lambda: now[0])
    challenge = f'Bearer realm="{web.url}/token"'

    first = auth.answer(challenge, PULL, None)
    now[0] += until - 0.5
    same = auth.current(PULL)
    now[0] += 1
    other = auth.current(PULL)

    assert first is same
    assert other is not None
    assert other != first
    assert len(tokens_asked(web)) == 2


def test_a_token_that_ended_early_is_renewed(
    registry: OciRegistry, guarded: Guarded, web: Web
) -> None:
    registry.manifest("ai/tiny", "latest")
    guarded.good.clear()

    registry.manifest("ai/tiny", "latest")

    assert len(tokens_asked(web)) == 2


def test_tokens_that_open_nothing_end_in_a_refusal(
    registry: OciRegistry, guarded: Guarded, web: Web
) -> None:
    guarded.token_reply = Reply(200, b'{"access_token": "useless"}')

    with pytest.raises(HttpError, match="refuses") as caught:
        registry.manifest("ai/tiny", "latest")

    assert caught.value.hint == f"docker login {web.host}"
    assert len(tokens_asked(web)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 3}',
        b'{"token": "a\\r\\nX: b"}',
        b'{"token": "t", "expires_in": [1]}',
        b'{"token": "t", "expires_in": 1' + b"0" * 400 + b"}",
    ],
)
def test_what_is_no_token_is_told(registry: OciRegistry, guarded: Guarded, body: bytes) -> None:
    guarded.token_reply = Reply(200, body)

    with pytest.raises(NetworkError, match="issues no token"):
        registry.manifest("ai/tiny", "latest")


def test_a_realm_that_fails_is_told(registry: OciRegistry, guarded: Guarded) -> None:
    guarded.token_reply = Reply(503)

    with pytest.raises(HttpError, match="answers 503 for a token"):
        registry.manifest("ai/tiny", "latest")


def test_a_login_goes_to_the_registrys_own_realm(
    registry: OciRegistry, guarded: Guarded, web: Web, tmp_path: Path
) -> None:
    guarded.needs_login = True
    log_in(tmp_path, web.host)

    registry.manifest("ai/tiny", "latest")

    assert [asked.authorization for asked in tokens_asked(web)] == [BASIC]
    assert [r.authorization for r in web.requests if r.path != "/token"] == [None, "Bearer token-0"]


def test_a_realm_elsewhere_does_not_get_the_password(
    registry: OciRegistry, guarded: Guarded, web: Web, tmp_path: Path
) -> None:
    log_in(tmp_path, web.host)
    with serving(guarded) as elsewhere:
        guarded.realm = elsewhere.url.replace("127.0.0.1", "localhost")

        registry.manifest("ai/tiny", "latest")

        assert len(tokens_asked(elsewhere)) == 1
        assert all(request.authorization is None for request in elsewhere.requests)
    assert all(request.authorization != BASIC for request in web.requests)


def test_an_identity_token_is_exchanged(registry: OciRegistry, web: Web, tmp_path: Path) -> None:
    log_in(tmp_path, web.host, identitytoken=SECRET)

    registry.manifest("ai/tiny", "latest")

    (asked,) = tokens_asked(web)
    form = parse_qs(asked.body.decode())
    assert asked.method == "POST"
    assert form["refresh_token"] == [SECRET]
    assert form["scope"] == list(PULL)


def test_an_identity_token_does_not_follow_a_redirect(
    registry: OciRegistry, guarded: Guarded, web: Web, tmp_path: Path
) -> None:
    log_in(tmp_path, web.host, identitytoken=SECRET)
    with serving(lambda _: Reply(200)) as elsewhere:
        guarded.token_reply = Reply(307, headers={"Location": f"{elsewhere.url}/token"})

        with pytest.raises(HttpError):
            registry.manifest("ai/tiny", "latest")

        assert elsewhere.requests == []


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_wrong_password_is_told_and_not_shown(
    registry: OciRegistry,
    guarded: Guarded,
    web: Web,
    tmp_path: Path,
    scheme: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    guarded.scheme, guarded.token_reply = scheme, Reply(401)
    log_in(tmp_path, web.host)

    with pytest.raises(HttpError) as caught:
        registry.manifest("ai/tiny", "latest")

    told = f"{caught.getrepr()} {caught.value.hint} {caplog.text}"
    assert caught.value.hint == f"docker login {web.host}"
    assert SECRET not in told
    assert BASIC.removeprefix("Basic ") not in told


def test_a_password_opens_a_registry_that_wants_basic(
    registry: OciRegistry, guarded: Guarded, web: Web, tmp_path: Path
) -> None:
    guarded.scheme, guarded.good = "basic", {BASIC}
    log_in(tmp_path, web.host)

    registry.manifest("ai/tiny", "latest")
    registry.has_blob("ai/tiny", DIGEST)

    assert [request.authorization for request in web.requests] == [None, BASIC, BASIC]


def test_a_stranger_at_a_registry_that_wants_basic_is_refused(
    registry: OciRegistry, guarded: Guarded
) -> None:
    guarded.scheme = "basic"

    with pytest.raises(HttpError, match="refuses"):
        registry.manifest("ai/tiny", "latest")


def test_no_password_goes_over_plain_http() -> None:
    account = Account(username="ada", password=SECRET)
    auth = RegistryAuth(Http({}), "team.example", "http://team.example", lambda: account)

    with pytest.raises(NetworkError, match="plain http"):
        auth.answer("Basic", PULL, None)


@pytest.mark.parametrize(
    ("origin", "realm"),
    [
        ("https://team.example", "http://team.example/token"),
        ("https://team.example", "http://127.0.0.1:9/token"),
        ("http://127.0.0.1:9", "http://team.example/token"),
        ("http://team.example", "http://127.0.0.1:9/token"),
        ("https://team.example", "ftp://team.example/token"),
        ("https://team.example", "/token"),
        ("http://127.0.0.1:9", "file:///etc/passwd"),
    ],
)
def test_a_realm_that_is_not_safe_is_not_asked(origin: str, realm: str) -> None:
    auth = RegistryAuth(Http({}), "team.example", origin, lambda: None)

    with pytest.raises(NetworkError, match="unsafe"):
        auth.answer(f'Bearer realm="{realm}"', PULL, None)


@pytest.mark.parametrize(
    ("host", "realm", "may"),
    [
        ("docker.io", "https://auth.docker.io/token", True),
        ("docker.io", "https://auth.docker.io.evil.example/token", False),
        ("docker.io", "https://auth.docker.com/token", False),
        ("ghcr.io", "https://ghcr.io/token", True),
        ("ghcr.io", "https://github.io/token", False),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("registry.ollama.ai", "https://ollama.com/token", True),
        ("registry.team.example", "https://auth.team.example/token", True),
        ("registry.team.example", "http://auth.team.example/token", False),
        ("registry.team.example:5000", "https://registry.team.example/token", True),
        ("registry.team.co.uk", "https://auth.team.co.uk/token", True),
        ("registry.team.co.uk", "https://evil.co.uk/token", False),
        ("mine.azurecr.io", "https://mine.azurecr.io/oauth2/token", True),
        ("mine.azurecr.io", "https://evil.azurecr.io/oauth2/token", False),
        ("10.0.0.1", "https://10.0.0.1/token", True),
        ("10.0.0.1", "https://9.0.0.1/token", False),
        ("registry", "https://other/token", False),
        ("127.0.0.1:5000", "http://127.0.0.1:5001/token", True),
        ("127.0.0.1:5000", "http://localhost:5001/token", False),
        ("team.example", "https://team.example@evil.example/token", False),
    ],
)
def test_the_password_is_for_the_registrys_own_realm(host: str, realm: str, may: bool) -> None:  # noqa: FBT001
    assert may_have_password(host, realm) is may


@pytest.mark.parametrize(
    ("text", "challenge"),
    [
        ("", None),
        ("Negotiate", None),
        ("Bearer", None),
        ('Bearer service="x"', None),
        ("Basic", Challenge(scheme="basic")),
        ('basic realm="r"', Challenge(scheme="basic")),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push y"',
            Challenge(
                scheme="bearer",
                realm="https://a/t",
                service="s",
                scopes=("repository:x:pull,push", "y"),
            ),
        ),
        (
            'Basic realm="b", bearer REALM = https://a/t , error="say \\"no\\""',
            Challenge(scheme="bearer", realm="https://a/t"),
        ),
    ],
)
def test_challenges_are_read(text: str, challenge: Challenge | None) -> None:
    assert parse_challenge(text) == challenge


def test_a_challenge_without_end_is_read_in_a_moment() -> None:
    assert parse_challenge("a" * 65536) is None
