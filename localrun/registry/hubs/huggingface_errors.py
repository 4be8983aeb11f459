"""Errors of Hugging Face as messages with a hint.

A 401 of this hub has three meanings: the repository does not exist, it is private, or the token
is invalid. The header X-Error-Code distinguishes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, ModelNotFoundError
from localrun.names.ref import HUGGINGFACE_HOST
from localrun.registry.http import HttpError, http_error

if TYPE_CHECKING:
    from localrun.registry.http import Response
    from localrun.registry.hubs.endpoint import HubEndpoint

PAGES = "https://huggingface.co"
UNAUTHORIZED, FORBIDDEN, TOO_MANY, SERVER_ERROR = 401, 403, 429, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRequest:
    """Request to the hub for one repository."""

    hub: HubEndpoint
    repo: str
    revision: str | None
    has_token: bool

    def refused(self, response: Response) -> LocalrunError:
        """Return the error for a response that is not the repository's listing."""
        code = response.header("X-Error-Code")
        if code == "GatedRepo":
            return self.gated(response.status)
        if code == "RevisionNotFound":
            return self._no_revision()
        if code == "RepoNotFound" or (response.status == UNAUTHORIZED and not self.has_token):
            return self._not_there()
        return http_error(response, self.repo, self._hint(response.status))

    def gated(self, status: int) -> HttpError:
        """Return the error of a gated repository to which this user has no access."""
        page = f"{PAGES}/{self.repo}"
        account = "with the token's account" if self.has_token else f"then {self._with_token}"
        return HttpError(
            f"{self.repo} is gated: its owner must grant access first",
            status=status,
            hint=f"open {page} and accept, {account}",
        )

    def _not_there(self) -> ModelNotFoundError:
        if self.has_token:
            hint = "check the name, and that the token's account has access"
        else:
            hint = f"check the name; if it is private, {self._with_token}"
        return ModelNotFoundError(
            f"{self.hub.host} has no repository {self.repo}, or a private one",
            hint=hint,
        )

    def _no_revision(self) -> ModelNotFoundError:
        return ModelNotFoundError(
            f"{self.repo} has no revision {self.revision!r} at {self.hub.host}",
            hint=f"{PAGES}/{self.repo}/commits/main lists the commits",
        )

    def _hint(self, status: int) -> str | None:
        if status == UNAUTHORIZED and self.has_token:
            return f"the token is invalid: {PAGES}/settings/tokens creates another"
        if status in {UNAUTHORIZED, FORBIDDEN}:
            return "the token has no access" if self.has_token else self._with_token
        if status == TOO_MANY:
            return "wait some minutes" + ("" if self.has_token else f"; or {self._with_token}")
        return "the hub failed, try again later" if status >= SERVER_ERROR else None

    @property
    def _with_token(self) -> str:
        return f"HF_TOKEN=hf_... localrun pull {HUGGINGFACE_HOST}/{self.repo}"
