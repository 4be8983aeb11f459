"""Stored login of ``hf auth login``. The only user of huggingface_hub.

    HF_TOKEN_PATH    the token file, else
    HF_HOME          the folder that holds ``token``, else
    XDG_CACHE_HOME   the folder that holds ``huggingface/token``, else ~/.cache

The library is imported only for a login that may need renewal or exchange: a browser login, which
the file ``stored_tokens`` beside the token file reveals, or the login of a CI system, which
HF_OIDC_RESOURCE reveals.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import NetworkError
from localrun.names.ref import HUGGINGFACE_HOST
from localrun.registry.hubs.endpoint import clean_token

if TYPE_CHECKING:
    from collections.abc import Mapping

WHAT = "the stored login"
RENEWED = "refresh_token"
QUIET = (
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "HF_HUB_DISABLE_XET",
    "HF_HUB_DISABLE_PROGRESS_BARS",
)


def stored_login(environ: Mapping[str, str]) -> str | None:
    """Return the stored token, renewed if it was about to expire, or None without a login.

    Raises:
        NetworkError: the login cannot be read or renewed.
        UsageError: the token has characters that no token can have.
    """
    path = _token_path(environ)
    try:
        if environ.get("HF_OIDC_RESOURCE") or _is_renewed(path.with_name("stored_tokens")):
            return clean_token(_token_of_library(), WHAT)
        return clean_token(path.read_text(), WHAT)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(error) from error


def _token_path(environ: Mapping[str, str]) -> Path:
    if named := environ.get("HF_TOKEN_PATH"):
        return _expanded(named)
    if home := environ.get("HF_HOME"):
        return _expanded(home) / "token"
    cache = environ.get("XDG_CACHE_HOME")
    return (_expanded(cache) if cache else Path.home() / ".cache") / "huggingface" / "token"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser()


def _is_renewed(stored: Path) -> bool:
    """Return whether any stored login needs renewal."""
    try:
        return RENEWED in stored.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def _token_of_library() -> str | None:
    os.environ.update(dict.fromkeys(QUIET, "1"))  # read when the library is imported
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    from huggingface_hub import get_token
    from huggingface_hub.errors import HfHubHTTPError, OIDCError

    transport_error: type[Exception] = HfHubHTTPError.__bases__[0]  # httpx's, or its successor's
    try:
        return get_token()
    except (transport_error, OIDCError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> NetworkError:
    return NetworkError(
        f"cannot read the login for {HUGGINGFACE_HOST}: {error}",
        hint="hf auth login   creates a new one; or set HF_TOKEN",
    )
