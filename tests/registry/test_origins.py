from __future__ import annotations

import pytest

from localrun.errors import NetworkError
from localrun.registry.origins import host_of, origin_of


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://HF.co/a?b", "https://hf.co"),
        ("https://hf.co:443/", "https://hf.co"),
        ("http://hf.co:443/", "http://hf.co:443"),
        ("https://user:word@hf.co/", "https://hf.co"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_a_host_is_named_without_secrets() -> None:
    assert host_of("https://user:word@hf.co:8080/x?token=1") == "hf.co:8080"
    with pytest.raises(NetworkError, match="not an address"):
        host_of("http://x:99999/?secret")
