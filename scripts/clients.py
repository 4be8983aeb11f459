"""Third-party clients of the APIs, for the tests that drive the server with them.

    <cache>/localrun/clients/python/   a venv with scripts/locks/clients.txt
                             node/     node_modules of scripts/locks/clients/package-lock.json
                             */.installed   fingerprint of the installed packages, written last

localrun does not need them, so they are not in ``.venv``. Install scripts of npm packages are not
run.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from pathlib import Path

OLDEST_NODE = 20
FILES = ("package.json", "package-lock.json")
STAMP = ".installed"
MAX_REASON_CHARS = 200  # of the reason why a test is skipped


class ClientsError(Exception):
    """The clients cannot be installed here; the text is the reason."""


def provide() -> None:
    """Set the variables that name the clients' folders, or the reason to skip their tests."""
    for kind, ensure in (("python", ensure_python), ("node", ensure_node)):
        variable = f"LOCALRUN_TEST_CLIENTS_{kind.upper()}"
        try:
            os.environ[variable] = str(ensure())
        except (ClientsError, environment.SetupError, OSError) as error:
            environment.say(f"no {kind} clients, so their tests are skipped: {error}")
            os.environ[f"{variable}_MISSING"] = " ".join(str(error).split())[:MAX_REASON_CHARS]


def ensure_python() -> Path:
    """Return the Python of the clients' venv, which the first call installs (700 MB)."""
    folder = environment.cache_folder() / "clients" / "python"
    python = folder / "bin" / "python"
    fingerprint = _fingerprint([environment.LOCKS / "clients.txt"], platform.python_version())
    if _stamped(folder) != fingerprint:
        folder.parent.mkdir(exist_ok=True)
        environment.create_venv(folder)
        environment.say("installing the Python clients ...")
        environment.install(python, "clients")
        (folder / STAMP).write_text(fingerprint)
    return python


def ensure_node() -> Path:
    """Return the folder of ``node_modules``, which the first call installs (460 MB)."""
    folder = environment.cache_folder() / "clients" / "node"
    version = _node_version()
    sources = [environment.LOCKS / "clients" / name for name in FILES]
    fingerprint = _fingerprint(sources, f"{version} {platform.system()} {platform.machine()}")
    if _stamped(folder) != fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for source in sources:
            shutil.copy(source, folder)
        environment.say("installing the JavaScript clients ...")
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
        (folder / STAMP).write_text(fingerprint)
    return folder


def _node_version() -> str:
    if not (shutil.which("node") and shutil.which("npm")):
        raise ClientsError("node and npm are not on the PATH")
    version = _run("node", "--version").strip()
    major = version.lstrip("v").partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST_NODE:
        raise ClientsError(f"the clients need Node {OLDEST_NODE} or later; this is {version}")
    return version


def _stamped(folder: Path) -> str:
    stamp = folder / STAMP
    return stamp.read_text() if stamp.is_file() else ""


def _fingerprint(files: list[Path], machine: str) -> str:
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files))
    return f"{digest.hexdigest()} {machine}\n"


def _run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
        raise ClientsError(f"{' '.join(command)} failed:\n{tail}")
    return done.stdout
