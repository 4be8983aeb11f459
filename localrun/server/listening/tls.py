"""TLS options of the server, from the certificate in the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from localrun.errors import StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.settings import Settings

HINT = "localrun serve --tls-cert cert.pem --tls-key key.pem"


class TlsOptions(TypedDict, total=False):
    """Arguments of uvicorn.Config."""

    ssl_certfile: Path
    ssl_keyfile: Path


def tls_options(settings: Settings) -> TlsOptions:
    """Return uvicorn's options for TLS, {} for plain HTTP.

    Raises:
        UsageError: https without a certificate, or a key without a certificate.
        StorageError: certificate or key cannot be read, or do not match.
    """
    cert, key = settings.access.tls_cert, settings.access.tls_key
    if cert is None:
        if settings.is_tls or key is not None:
            raise UsageError("https needs a certificate", hint=HINT)
        return {}
    import ssl  # lazy: most servers have no certificate

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise StorageError(
            f"the certificate {cert} and its key cannot be used: {reason}", hint=HINT
        ) from error
    return {"ssl_certfile": cert} if key is None else {"ssl_certfile": cert, "ssl_keyfile": key}


def _no_password() -> str:
    """Refuse an encrypted key; OpenSSL would ask for the password on the terminal."""
    raise ValueError("the key has a password")
