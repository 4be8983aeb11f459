"""Newer versions of this program: what an index of packages has, and what to type to get them.

The index is asked only by `newest_version`, at the user's wish. It answers in the JSON of PyPI::

    GET https://pypi.org/pypi/localrun/json
    {"info": {"version": "0.2.0", "summary": "Run language models on your own machine: ..."}}

On PyPI the name belongs to another program, as of 2026. A project with another summary is that one:
its versions are never offered, and pip is told the bare name only after the index was checked.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from localrun import __version__
from localrun.errors import NetworkError, NotFoundError, UsageError
from localrun.program import binary_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.registry.http import Http

PROJECT = "localrun"
INDEX_VARIABLE = "LOCALRUN_INDEX"
INDEX = "https://pypi.org"
SUMMARY = "Run language models on your own machine: one program, one command."  # of pyproject.toml
MAX_BYTES = 16 << 20
OK, NOT_FOUND = 200, 404
RELEASE = re.compile(r"\d{1,9}(\.\d{1,9}){0,9}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """The newest version of this program."""

    installed: str
    newest: str
    is_newer: bool
    index: str


def index_url(environ: Mapping[str, str]) -> str:
    """Return the address of the index.

    Raises:
        UsageError: the variable is no address.
    """
    url = environ.get(INDEX_VARIABLE, "").strip() or INDEX
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{INDEX_VARIABLE} is not an address: {url}", hint=INDEX)
    return url.rstrip("/")


def newest_version(http: Http, index: str) -> Upgrade:
    """Return the newest version that an index has; blocks for one request.

    Raises:
        NetworkError: the index does not answer, or with something else.
        NotFoundError: the index has no such project, or another one of this name.
    """
    from localrun.registry.http import http_error
    from localrun.registry.origins import host_of

    host = host_of(index)
    with http.open(f"{index}/pypi/{PROJECT}/json", headers={"Accept": "application/json"}) as found:
        if found.status == NOT_FOUND:
            raise NotFoundError(f"{host} has no project {PROJECT}", hint=_hint())
        if found.status != OK:
            raise http_error(found, f"the project {PROJECT}")
        info = _info(found.body(MAX_BYTES), host)
    if info.get("summary") != SUMMARY:
        raise NotFoundError(
            f"the project {PROJECT} of {host} is another program: do not install it", hint=_hint()
        )
    newest = info.get("version")
    if not isinstance(newest, str) or not RELEASE.fullmatch(newest):
        raise NetworkError(f"{host} names no version of {PROJECT}")
    is_newer = _release(newest) > _release(__version__)
    return Upgrade(installed=__version__, newest=newest, is_newer=is_newer, index=index)


def upgrade_command(checked: Upgrade | None = None) -> str:
    """Return what upgrades this installation: a command, or what to do.

    ``checked`` is what the index has, if it was asked.
    """
    binary = binary_file()
    prefix = Path(sys.prefix)
    source = _source_folder()
    if binary is not None:
        return f"replace {binary} by the file of the new version"
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx upgrade {PROJECT}"
    if (prefix / "uv-receipt.toml").is_file():
        return f"uv tool upgrade {PROJECT}"
    python = shlex.quote(sys.executable)
    if source is not None:
        folder = shlex.quote(source)
        return f"git -C {folder} pull && {python} -m pip install {folder}"
    if checked is None:
        return f"{python} -m pip install --upgrade WHEEL   installs the wheel of a new version"
    options = "" if checked.index == INDEX else f"--index-url {shlex.quote(checked.index)}/simple "
    return f"{python} -m pip install --upgrade {options}{PROJECT}=={checked.newest}"


def _info(body: bytes, host: str) -> dict[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NetworkError(f"{host} answers with something else than JSON") from error
    info = answer.get("info") if isinstance(answer, dict) else None
    if not isinstance(info, dict):
        raise NetworkError(f"{host} names no version of {PROJECT}")
    return info


def _hint() -> str:
    return f"localrun {__version__} is installed; `localrun upgrade` shows how it is upgraded"


def _source_folder() -> str | None:
    """Return the folder that this program was installed from, None if from an index or a file."""
    from importlib import metadata  # brings email

    try:
        text = metadata.distribution(PROJECT).read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:
        return None
    origin = json.loads(text)
    url = urlsplit(str(origin.get("url", "")))
    return unquote(url.path) if "dir_info" in origin and url.scheme == "file" else None


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, without zeros at the end: 1.0 is 1."""
    match = RELEASE.match(version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
