"""Hidden command of health checks, such as that of the container image."""

from __future__ import annotations


def health() -> None:
    """Exit with 0 if the server of the settings answers; internal."""
    import contextlib
    import os

    from localrun.client.api import LocalrunClient
    from localrun.errors import CertificateError
    from localrun.settings import load_settings

    # a certificate names the host of the clients, not the 0.0.0.0 that is connected here
    with contextlib.suppress(CertificateError):
        LocalrunClient(load_settings(os.environ)).check_health()
