"""Logins and signatures in URLs: what is a secret, and what is left without it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.addresses import is_secret, public_address, redacted
from localrun.errors import ModelNameError
from localrun.names.parse import parse_name

AMAZON = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261122&X-Amz-Date=20261122T0Z"
    "&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=5ec3e7"
)
AZURE = "sv=2024-11-04&st=2026-11-22&se=2026-11-23&sr=b&sp=r&spr=https&sig=5ec3e7%3D"


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://user:5ec3e7@host/x.gguf", "http://host/x.gguf"),
        ("http://us@er:5ec3e7@host:8080/x.gguf", "http://host:8080/x.gguf"),
        ("https://5ec3e7@host/x.gguf", "https://host/x.gguf"),
        (f"https://b.s3.amazonaws.com/x.gguf?{AMAZON}", "https://b.s3.amazonaws.com/x.gguf"),
        (f"https://a.blob.core.windows.net/c/x.gguf?{AZURE}", "https://a.blob.core.windows.net/c/x.gguf"),
        ("https://host/x.gguf?token=5ec3e7", "https://host/x.gguf"),
        ("https://host/get?file=x.gguf&access_token=5ec3e7", "https://host/get?file=x.gguf"),
        ("https://host/get?apiKey=5ec3e7&id=7#sha256=00", "https://host/get?id=7#sha256=00"),
        ("https://cdn/x.gguf?Expires=1&Signature=5ec3e7&Key-Pair-Id=K5ec3e7", "https://cdn/x.gguf"),
        ("https://cdn/x.gguf?Policy=5ec3e7&Signature=5ec3e7", "https://cdn/x.gguf"),
        ("https://b/x.gguf?AWSAccessKeyId=5ec3e7&Expires=1&Signature=5ec3e7", "https://b/x.gguf"),
        ("https://b/x.gguf?GoogleAccessId=5ec3e7&Signature=5ec3e7", "https://b/x.gguf"),
    ],
)  # fmt: skip
def test_a_name_has_no_secret_of_its_address(url: str, public: str) -> None:
    ref = parse_name(url.partition("#")[0])

    assert public_address(url) == public
    assert str(ref) == public.partition("#")[0]
    assert "5ec3e7" not in repr(ref) + "".join(ref.key)
    assert ref.full_address == url.partition("#")[0]
    assert ref.key == parse_name(str(ref)).key


@pytest.mark.parametrize(
    "url",
    [
        "https://host/x.gguf",
        "https://host/get?id=7&download=true&se=1",
        "https://host/pkg@1.0/x.gguf?file=a@b",
        "https://host/get?key=models/x.gguf",
        "https://host/get?",
    ],
)
def test_an_address_without_secrets_stays_as_it_is(url: str) -> None:
    assert public_address(url) == url
    assert parse_name(url).full_address is None


@pytest.mark.parametrize(
    "url", ["http://user:5ec/3e7@host/x.gguf", "http://user:5ec#3e7@host/x", "http://u:5ec?3e7@h/x"]
)
def test_a_password_that_is_not_encoded_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ModelNameError) as caught:
        parse_name(url)

    assert "5ec" not in str(caught.value)
    assert "3e7" not in str(caught.value)
    assert "%2F" in (caught.value.hint or "")


def test_errors_show_no_secret_of_an_address() -> None:
    error = ModelNameError(
        "no http://user:5ec3e7@host/x?a=1&sig=5ec3e7", hint="pull https://5ec3e7@host/"
    )

    assert error.message == str(error) == "no http://***@host/x?a=1&sig=***"
    assert error.hint == "pull https://***@host/"


@pytest.mark.parametrize("name", ["X-Amz-Signature", "sig", "auth_key", "AccessToken", "api-key"])
def test_a_secret_is_told_by_the_words_of_its_name(name: str) -> None:
    assert is_secret(f"{name}=x")


@pytest.mark.parametrize("name", ["file", "id", "tokenizer", "author", "design", "monkey", "v"])
def test_other_parameters_are_part_of_the_name(name: str) -> None:
    assert not is_secret(f"{name}=x")


@given(st.text(alphabet="a:/@?&=#. ***sig", max_size=60))
def test_taking_secrets_out_twice_is_taking_them_out_once(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)
    assert public_address(public_address(text)) == public_address(text)
