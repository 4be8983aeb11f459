from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.access import Access
from localrun.client.api import LocalrunClient
from localrun.client.launch import find_server
from localrun.errors import CertificateError, StorageError, UnauthorizedError, UsageError
from localrun.server.listening.tls import tls_options
from localrun.server.middleware.keys import Keys
from localrun.settings import Settings, load_settings
from tests.server.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

TLS = Path(__file__).with_name("tls")
CERT, KEY = TLS / "cert.pem", TLS / "key.pem"
WITH_TLS = Access(tls_cert=CERT, tls_key=KEY)


def settings_of(url: str, **access: str) -> Settings:
    return load_settings({"LOCALRUN_HOST": url, **access})


@pytest.fixture(scope="module")
def safe() -> Iterator[str]:
    with serving(keys=Keys({"me": "s3cret"}), access=WITH_TLS) as found:
        yield found.url


def test_a_client_speaks_tls_and_shows_its_key(safe: str) -> None:
    settings = settings_of(safe, LOCALRUN_TLS_CERT=str(CERT), LOCALRUN_API_KEY="s3cret")

    client = find_server(settings)

    assert client is not None
    assert client.running() == []


def test_a_client_without_the_key_hears_that_one_is_wanted(safe: str) -> None:
    with pytest.raises(UnauthorizedError, match="asks for an API key"):
        find_server(settings_of(safe, LOCALRUN_TLS_CERT=str(CERT)))


def test_a_certificate_that_nobody_vouches_for_is_named(safe: str) -> None:
    with pytest.raises(CertificateError, match="not trusted"):
        LocalrunClient(settings_of(safe, LOCALRUN_API_KEY="s3cret")).version()


def test_https_without_a_certificate_is_refused() -> None:
    with pytest.raises(UsageError, match="certificate"):
        tls_options(settings_of("https://127.0.0.1:1"))


@pytest.mark.parametrize("key", [CERT, TLS / "nothing"])
def test_a_key_that_does_not_fit_is_refused_before_the_server_starts(key: Path) -> None:
    settings = Settings(log_dir=TLS, access=Access(tls_cert=CERT, tls_key=key))

    with pytest.raises(StorageError, match="cannot be used"):
        tls_options(settings)


def test_an_address_with_https_has_the_port_of_https() -> None:
    assert settings_of("https://box.example").url == "https://box.example:443"
    assert settings_of("https://localhost:9").url == "https://localhost:9"
