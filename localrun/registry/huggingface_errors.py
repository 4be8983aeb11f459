"""What the failures of huggingface_hub mean to a user, each in one line with a hint.

Knows that a 401 stands for three things at this hub: no such repository, a private
one, and a token that is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.errors import LocalrunError, ModelNameError, ModelNotFoundError, NetworkError
from localrun.names.ref import HUGGINGFACE_HOST
from localrun.registry.http import HttpError, OfflineError, retry_after

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

    from localrun.registry.hub_endpoint import HubEndpoint

PAGES = "https://huggingface.co"
UNAUTHORIZED, FORBIDDEN, TOO_MANY, SERVER_ERROR = 401, 403, 429, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked of the hub."""

    hub: HubEndpoint
    repo: str
    revision: str | None
    has_token: bool

    def explain(self, error: Exception) -> LocalrunError:
        """Return our error for one of the library, of its transport, or of a strange answer."""
        from huggingface_hub import errors

        if isinstance(error, errors.GatedRepoError):  # also a RepositoryNotFoundError
            return self.gated(error.response.status_code)
        if isinstance(error, errors.HfHubHTTPError):
            return self._answered(error)
        if isinstance(error, errors.HFValidationError):
            return ModelNameError(f"not a repository's name: {self.repo[:200]!r}")
        if isinstance(error, errors.OfflineModeIsEnabled):
            return OfflineError(f"HF_HUB_OFFLINE is set, and {self.hub.host} was wanted")
        is_silent = isinstance(error, transport_error())
        return self._silent(error) if is_silent else self.hub.nonsense()

    def gated(self, status: int) -> HttpError:
        """Return the error of a repository whose owner has not let this user in."""
        page = f"{PAGES}/{self.repo}"
        asker = "with the account of the token" if self.has_token else f"then {self._with_token}"
        return HttpError(
            f"{self.repo} is gated: its owner wants to be asked before files are given",
            status=status,
            hint=f"open {page} and accept, {asker}",
        )

    def _answered(self, error: HfHubHTTPError) -> LocalrunError:
        from huggingface_hub import errors

        if isinstance(error, errors.RepositoryNotFoundError):
            return self._not_there()
        if isinstance(error, errors.RevisionNotFoundError):
            return self._no_revision()
        return self._refused(error.response)

    def _not_there(self) -> ModelNotFoundError:
        if self.has_token:
            hint = "check the name, and that the account of the token may see it"
        else:
            hint = f"check the name; if it is private, {self._with_token}"
        return ModelNotFoundError(
            f"{self.hub.host} has no repository {self.repo}, or a private one that is not shown",
            hint=hint,
        )

    def _no_revision(self) -> ModelNotFoundError:
        return ModelNotFoundError(
            f"{self.repo} has no revision {self.revision!r} at {self.hub.host}",
            hint=f"{PAGES}/{self.repo}/commits/main lists the commits",
        )

    def _refused(self, response: Any) -> HttpError:  # noqa: ANN401 - httpx's or httpx2's
        status: int = response.status_code
        refused = HttpError(
            f"{self.hub.host} answers {status} for {self.repo}", status=status,
            hint=self._hint(status),
        )  # fmt: skip
        refused.retry_after_s = retry_after(response.headers.get("Retry-After"))
        return refused

    def _hint(self, status: int) -> str | None:
        if status == UNAUTHORIZED and self.has_token:
            return f"the token is not valid: {PAGES}/settings/tokens makes another"
        if status in {UNAUTHORIZED, FORBIDDEN}:
            return "the token may not read this" if self.has_token else self._with_token
        if status == TOO_MANY:
            return "wait a while" + ("" if self.has_token else f"; or {self._with_token}")
        return "the hub has a fault, try again later" if status >= SERVER_ERROR else None

    def _silent(self, error: Exception) -> NetworkError:
        reason = str(error) or type(error).__name__
        return NetworkError(
            f"{self.hub.host} does not answer: {reason}",
            hint="check the network; HTTPS_PROXY names a proxy, HF_ENDPOINT a mirror",
        )

    @property
    def _with_token(self) -> str:
        return f"HF_TOKEN=hf_... localrun pull {HUGGINGFACE_HOST}/{self.repo}"


def transport_error() -> type[Exception]:
    """Return the base of all errors of the library's HTTP: of httpx or of its successor httpx2."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__bases__[0]
    return base
