"""The wheel that ``LOCALRUN_ENGINE_WHEEL`` names: a file, a folder, a URL of a wheel, or an index.

    LOCALRUN_ENGINE_WHEEL=dist/llama_cpp_python-0.3.36-py3-none-manylinux_2_28_x86_64.whl
                          dist/                            the wheel in it that fits this machine
                          https://host/llama_cpp_python-....whl#sha256=0f5e...
                          https://host/whl/cpu             an index, as for pip --index-url

The digest is the one after the #, on the index page, or in NAME.sha256 or SHA256SUMS beside the
wheel. Without any, a file or an https address that the user named is taken, and that is printed;
an http address is refused.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from pathlib import Path

import environment

from engines import fetching, wheel_file
from engines.fetching import Link, WheelError

PACKAGE = "llama-cpp-python"
SUMS = "SHA256SUMS"
SUMS_LINE = re.compile(r"([0-9a-fA-F]{64})(?:[ \t]+\*?(.+))?")
REMOTE = ("http://", "https://")


def find(demanded: str, folder: Path) -> Path:
    """Return the wheel, downloaded into the folder if it is not on this machine.

    Raises:
        WheelError: there is none of the pinned version that fits, or its digest is wrong.
    """
    if demanded.startswith(REMOTE):
        return _remote(demanded, folder)
    path = Path(demanded).expanduser()
    if not path.exists():
        raise WheelError(f"{path} does not exist")
    wheel = _in_folder(path) if path.is_dir() else path
    require_fit(wheel.name)
    if not verify(wheel):
        environment.say(f"{wheel.name}: no {wheel.name}.sha256 beside it, so no digest is compared")
    return wheel


def verify(wheel: Path) -> bool:
    """Compare a file with the digest beside it; return whether there is one.

    Raises:
        WheelError: the file has another digest.
    """
    for sums in (wheel.with_name(f"{wheel.name}.sha256"), wheel.with_name(SUMS)):
        expected = digest_in(sums.read_text(), wheel.name) if sums.is_file() else None
        if expected is None:
            continue
        with wheel.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != expected:
            raise WheelError(f"{wheel} has the digest {actual}, and {sums.name} has {expected}")
        return True
    return False


def require_fit(name: str) -> None:
    """Check that a wheel is the pinned one, for this machine.

    Raises:
        WheelError: it is not.
    """
    parts, pinned = wheel_file.parse_name(name), environment.pinned_version()
    if parts is None or parts.package != PACKAGE:
        raise WheelError(f"{name} is no wheel of {PACKAGE}")
    if parts.version != pinned:
        raise WheelError(f"{name} is version {parts.version}; localrun needs {pinned}")
    reason = wheel_file.misfit(parts, wheel_file.Host.of_this_process())
    if reason:
        raise WheelError(f"{name} does not fit: {reason}")


def choose(links: list[Link], where: str) -> Link:
    """Return the link to the pinned wheel that fits this machine.

    Raises:
        WheelError: there is none; the text has what there is instead.
    """
    pinned = environment.pinned_version()
    named = [(link, wheel_file.parse_name(link.name)) for link in links]
    wheels = [(link, name) for link, name in named if name and name.package == PACKAGE]
    versions = [(link, name) for link, name in wheels if name.version == pinned]
    if not versions:
        others = sorted({name.version for _, name in wheels})
        raise WheelError(f"{where} has no {PACKAGE} {pinned}, only {', '.join(others) or 'none'}")
    host = wheel_file.Host.of_this_process()
    for link, name in versions:
        if wheel_file.misfit(name, host) is None:
            return link
    reasons = [wheel_file.misfit(name, host) or "" for _, name in versions]
    raise WheelError(f"{where} has {PACKAGE} {pinned}, but {reasons[0]}")


def digest_in(text: str, name: str) -> str | None:
    """Return the digest of a file in the text of a ``.sha256`` or SHA256SUMS file."""
    for line in text.splitlines():
        match = SUMS_LINE.fullmatch(line.strip())
        if match and (match[2] or name).strip().rpartition("/")[2] == name:
            return match[1].lower()
    return None


def _in_folder(folder: Path) -> Path:
    names = [Link(file.name, None) for file in sorted(folder.glob("*.whl"))]
    return folder / choose(names, str(folder)).name


def _remote(demanded: str, folder: Path) -> Path:
    link = fetching.split_digest(demanded)
    if link.sha256 is None and not fetching.is_trusted(link.url):
        raise WheelError(
            f"{demanded} is plain http: anyone on the way could change the wheel;"
            " append #sha256=DIGEST, or use https"
        )
    if not link.name.endswith(".whl"):
        link = choose(fetching.read_links(project_page(link.url)), link.url)
    require_fit(link.name)
    if link.sha256 is None:
        link = Link(link.url, _digest_beside(link))
    if link.sha256 is None and not fetching.is_trusted(link.url):
        raise WheelError(f"{link.url} is plain http, and its digest is not known")
    wheel = fetching.download(link, folder)
    if link.sha256 is None:
        environment.say(f"{wheel.name}: {link.url} has no digest; the bytes came over https")
    return wheel


def project_page(index: str) -> str:
    """Return the address of the page of llama-cpp-python in an index."""
    base = index.rstrip("/")
    return f"{base}/" if base.endswith(f"/{PACKAGE}") else f"{base}/{PACKAGE}/"


def _digest_beside(link: Link) -> str | None:
    """Return the digest in a file beside a wheel on a server."""
    for url in (f"{link.url}.sha256", urllib.parse.urljoin(link.url, SUMS)):
        try:
            found = digest_in(fetching.read_page(url), link.name)
        except WheelError:
            continue
        if found:
            return found
    return None
