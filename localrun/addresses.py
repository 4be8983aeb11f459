"""Secrets in URLs: logins and signatures, and texts without them.

    http://user:pw@host/x.gguf           the user information before the "@"
    https://host/x.gguf?id=7&token=abc   parameters that hold a token, key or signature

`public_address` removes them; the rest identifies the file. `redacted` removes them from all URLs
in a text, for errors and logs. Both take linear time. A secret in the path of a URL looks like a
folder, and stays.
"""

from __future__ import annotations

import re

HIDDEN = "***"
# words, separated by punctuation or capitals, that mark a parameter as secret
SECRET_WORDS = {
    "accesskey", "accesskeyid", "accesstoken", "apikey", "apitoken", "auth", "authkey",
    "authorization", "authtoken", "awsaccesskeyid", "bearer", "clientsecret", "cred", "credential",
    "credentials", "googleaccessid", "hdnea", "hdntl", "hdnts", "hmac", "idtoken", "jwt", "key",
    "keypairid", "md5", "ossaccesskeyid", "pass", "passphrase", "passwd", "password",
    "privatetoken", "pwd", "refreshtoken", "sas", "secret", "session", "sessionid", "sig", "sign",
    "signature", "ticket", "token",
}  # fmt: skip
SECRET_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "q-sign-", "q-ak", "x-bce-", "x-ms-")
# parameters that accompany a signature and mean nothing without it
SIGNED_ALONG = {
    "expires", "expiry", "exp", "policy", "q-key-time", "q-header-list", "q-url-param-list",
    "response-content-disposition", "response-content-type", "response-cache-control",
    # a shared access signature of Azure
    "se", "si", "sip", "ske", "skoid", "sks", "skt", "sktid", "skv", "sp", "spr", "sr", "srt",
    "ss", "st", "sv", "rscc", "rscd", "rsce", "rscl", "rsct", "sdd", "saoid", "suoid", "scid",
}  # fmt: skip
USER_INFORMATION = re.compile(r"(?<=://)[^\s/?#]*@")
QUERY = re.compile(r"(?<=[?&])[^\s?&#='\"]{1,100}=[^\s&#'\"]*")
WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def public_address(url: str) -> str:
    """Return a URL without login and secret parameters; unchanged if it has none."""
    front, mark, fragment = url.partition("#")
    address, question, query = USER_INFORMATION.sub("", front, count=1).partition("?")
    parameters = query.split("&") if question else []
    kept = [parameter for parameter in parameters if not is_secret(parameter)]
    if kept != parameters:
        kept = [each for each in kept if each.partition("=")[0].lower() not in SIGNED_ALONG]
        question = "?" if kept else ""
    return address + question + "&".join(kept) + mark + fragment


def redacted(text: str) -> str:
    """Return a text with ``***`` instead of the logins and secret values in its URLs."""
    if "://" not in text and "=" not in text:
        return text
    hidden = USER_INFORMATION.sub(f"{HIDDEN}@", text)
    return QUERY.sub(_hidden_value, hidden)


def is_secret(parameter: str) -> bool:
    """Return whether a parameter, ``name=value``, is secret by its name.

    The file name of a model is not secret: ``key=folder/x.gguf``.
    """
    name, _, value = parameter.partition("=")
    lower = name.lower()
    if lower.startswith(SECRET_PREFIXES):
        return True
    joined = re.sub(r"[^a-z0-9]", "", lower)
    words = {word.lower() for word in WORD.findall(name)} | {joined}
    return not words.isdisjoint(SECRET_WORDS) and not value.lower().endswith(".gguf")


def _hidden_value(match: re.Match[str]) -> str:
    name = match[0].partition("=")[0]
    return f"{name}={HIDDEN}" if is_secret(match[0]) else match[0]
