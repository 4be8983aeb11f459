"""Authentication at one OCI registry: bearer tokens and passwords.

A registry asks by a 401 with ``WWW-Authenticate: Bearer realm="https://auth...",
service="...",scope="repository:ai/smollm2:pull"``; the realm issues a token for that scope, valid
for some minutes. The user's password or identity token is sent only over https or to this
machine, and only to the registry or to a realm of the registry: the same host, the same site, or
a known one. Any other realm is asked anonymously. No message, log line or repr holds a secret.

https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from localrun.errors import NetworkError
from localrun.registry.http import HttpError, http_error
from localrun.registry.oci.challenges import (
    Challenge,
    is_private,
    may_have_password,
    parse_challenge,
)
from localrun.registry.origins import Credential, host_of, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.registry.http import Http, Response
    from localrun.registry.oci.accounts import Account

TOKEN_CHARACTERS = re.compile(r"[\x21-\x7e]+")
MAX_TOKEN_BYTES = 1 << 20
DEFAULT_LIFE_S = 60.0
JUST_NOW_S = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _IssuedCredential:
    """Credential with its times of issue and expiry on the clock."""

    credential: Credential
    since_s: float
    until_s: float


class RegistryAuth:
    """Credentials of one registry: a token for each set of scopes. Safe from many threads."""

    def __init__(
        self,
        http: Http,
        host: str,
        origin: str,
        account: Callable[[], Account | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http, self._host, self._origin = http, host, origin
        self._find_account, self._clock = account, clock
        self._account: Account | None = None
        self._has_looked = False
        self._challenge: Challenge | None = None  # None until the registry asks
        self._issued: dict[tuple[str, ...], _IssuedCredential] = {}
        self._lock = threading.Lock()  # guards all fields; issued during token requests

    def current(self, scopes: tuple[str, ...]) -> Credential | None:
        """Return the credential to send, renewed before it expires; None until a registry asks.

        Raises:
            NetworkError: the realm issues no token.
        """
        with self._lock:
            issued = self._issued.get(scopes)
            if issued is not None and self._clock() < issued.until_s:
                return issued.credential
            return None if self._challenge is None else self._fetch(self._challenge, scopes)

    def answer(
        self, challenge: str | None, scopes: tuple[str, ...], used: Credential | None
    ) -> Credential | None:
        """Return the credential to send after a 401 to ``used``, or None if there is no better one.

        Raises:
            NetworkError: the realm issues no token.
        """
        with self._lock:
            issued = self._issued.get(scopes)
            if issued is not None and issued.credential is not used:  # another thread renewed it
                return issued.credential
            parsed = parse_challenge(challenge or "")
            if parsed is None:
                return None
            self._challenge = replace(parsed, scopes=())  # they belonged to this request
            fresh = self._fetch(parsed, scopes)
            return None if fresh == used else fresh

    def renew(self, scopes: tuple[str, ...]) -> Credential | None:
        """Return the credential to send after a 401 that only a download saw.

        Many threads see the 401 at once: a token that is seconds old is not replaced.

        Raises:
            NetworkError: the registry does not answer, or the realm gives no token.
        """
        with self._lock:
            issued = self._issued.get(scopes)
            if issued is not None and self._clock() - issued.since_s < JUST_NOW_S:
                return issued.credential
            if self._challenge is None:
                self._challenge = self._request_challenge()
            return None if self._challenge is None else self._fetch(self._challenge, scopes)

    def _request_challenge(self) -> Challenge | None:
        """Return the registry's challenge."""
        with self._http.open(f"{self._origin}/v2/") as response:
            parsed = parse_challenge(response.header("WWW-Authenticate") or "")
        return None if parsed is None else replace(parsed, scopes=())

    def _fetch(self, challenge: Challenge, scopes: tuple[str, ...]) -> Credential | None:
        """Request a new credential and keep it."""
        life_s = float("inf")
        if challenge.scheme == "basic":
            authorization = self._basic()
        else:
            authorization, life_s = self._token(challenge, scopes)
        if authorization is None:
            return None
        credential = Credential(origin=self._origin, headers={"Authorization": authorization})
        now = self._clock()
        margin_s = min(JUST_NOW_S, life_s / 10)
        self._issued[scopes] = _IssuedCredential(
            credential=credential, since_s=now, until_s=now + life_s - margin_s
        )
        return credential

    def _basic(self) -> str | None:
        account = self._login()
        if account is None or not account.password:
            return None
        if not is_private(self._origin):
            raise NetworkError(
                f"{self._host} asks for a password, which is never sent over plain http",
                hint="enable https for the registry",
            )
        return account.basic

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> tuple[str, float]:
        """Return the Authorization header and its lifetime in seconds."""
        realm = challenge.realm
        if urlsplit(realm).scheme != "https" and not self._may_be_plain(realm):
            raise NetworkError(f"{self._host} names an unsafe token server")
        account = self._login() if may_have_password(self._host, realm) else None
        query = [("service", challenge.service)] if challenge.service else []
        wanted = dict.fromkeys((*scopes, *challenge.scopes))
        if account is not None and account.identity_token is not None:
            response = self._exchange(realm, query, " ".join(wanted), account.identity_token)
        else:
            query += [("scope", scope) for scope in wanted]
            response = self._ask(realm, query, account)
        with response:
            return _read_token(response, self._host, is_login=account is not None)

    def _ask(self, realm: str, query: list[tuple[str, str]], account: Account | None) -> Response:
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}"
        credential = None
        if account is not None:
            credential = Credential(
                origin=origin_of(realm), headers={"Authorization": account.basic}
            )
        _log.debug("%s: requesting a token from %s", self._host, host_of(realm))
        return self._http.open(url, credential=credential)

    def _exchange(
        self, realm: str, query: list[tuple[str, str]], scope: str, identity_token: str
    ) -> Response:
        """Request a token by OAuth 2, without redirects, because the body is the secret."""
        form = [
            *query,
            ("scope", scope),
            ("grant_type", "refresh_token"),
            ("client_id", "localrun"),
            ("refresh_token", identity_token),
        ]
        return self._http.open(
            realm,
            method="POST",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            follow=False,
        )

    def _login(self) -> Account | None:
        if not self._has_looked:
            self._account, self._has_looked = self._find_account(), True
        return self._account

    def _may_be_plain(self, realm: str) -> bool:
        """Return whether http is allowed: the registry uses it, and the realm is as near."""
        has_plain = urlsplit(self._origin).scheme == "http"
        is_near = is_private(realm) == is_private(self._origin)
        return has_plain and urlsplit(realm).scheme == "http" and is_near


def _read_token(response: Response, host: str, *, is_login: bool) -> tuple[str, float]:
    if response.status in {400, 401, 403} and is_login:
        raise HttpError(
            f"{host} does not accept your login",
            status=response.status,
            hint=f"docker login {host}",
        )
    if response.status != 200:  # noqa: PLR2004 - OK
        raise http_error(response, "a token", hint=f"docker login {host}")
    try:
        value = json.loads(response.body(MAX_TOKEN_BYTES))
        token = value.get("token") or value.get("access_token")
        life_s = float(value.get("expires_in") or DEFAULT_LIFE_S)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise NetworkError(f"{host_of(response.url)} issues no token") from error
    if not isinstance(token, str) or not TOKEN_CHARACTERS.fullmatch(token):
        raise NetworkError(f"{host_of(response.url)} issues no token")
    return f"Bearer {token}", life_s
