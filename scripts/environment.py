"""Setup of ``.venv`` for the other scripts; requires only a Python.

Owns `.venv`. All packages are installed from the lock files in ``scripts/locks`` (written by
``scripts/lock``), and llama-cpp-python from a wheel that `engines.choice` chooses. A stamp in
`.venv` records each installed lock file, so that a second run takes no time. This module runs on
any Python 3; `use_supported_python` restarts the script with 3.11 or later.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "scripts" / "locks"
VENV = ROOT / ".venv"
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
WITH_OUR_TOOLS = ("--no-build-isolation", "--no-deps")  # builds with `build_tools` only
BY_HASH = ("--require-hashes", "--no-deps")
ONLY_WHEELS = ("--only-binary", ":all:")  # else pip would build with unchecked packages


class SetupError(Exception):
    """A failed precondition; the text states what the user must type."""


def use_supported_python() -> None:
    """Restart the script with Python 3.11 or later if this Python is older."""
    if sys.version_info >= (3, 11):  # noqa: UP036 - an older Python is what this is about
        return
    for name in NEWER_PYTHONS:
        newer = shutil.which(name)
        if newer:
            os.execv(newer, [newer, *sys.argv])
    raise SetupError(
        f"localrun needs Python 3.11 or later; this is {platform.python_version()}.\n"
        "hint: sudo apt install python3.11 python3.11-venv   (or any later one)"
    )


def ensure_python() -> Path:
    """Return the Python of ``.venv``, created with nothing but pip if it does not exist."""
    python = VENV / "bin" / "python"
    if not _is_usable(python):
        create_venv(VENV)
    return python


def ensure(*groups: str) -> Path:
    """Install localrun and the named lock files into ``.venv``; return its Python."""
    from engines import choice

    python = ensure_python()
    for group in ("run", *groups):
        stamp = VENV / f".installed-{group}"
        fingerprint = _fingerprint(group)
        if stamp.is_file() and stamp.read_text() == fingerprint:
            continue
        say(f"installing the packages of {group} ...")
        install(python, group)
        if group == "run":
            choice.install_engine(python)
            _pip(python, "install", *WITH_OUR_TOOLS, "--editable", ROOT, tools=build_tools(python))
        stamp.write_text(fingerprint)
    if choice.is_another_demanded():
        choice.install_engine(python)
    return python


def create_venv(folder: Path) -> None:
    """Create an empty venv in place of the folder.

    Raises:
        SetupError: this Python cannot create a venv.
    """
    say(f"creating {folder} ...")
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "venv", folder], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SetupError(
            f"python3 -m venv failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}\n"
            f"hint: sudo apt install python{version}-venv"
        )


def install(python: Path, group: str) -> None:
    """Install the packages of a lock file for a Python.

    Raises:
        SetupError: pip failed.
    """
    _pip(python, "install", *_strictness(group), "-r", LOCKS / f"{group}.txt")


def install_wheel(python: Path, wheel: Path) -> None:
    """Install a wheel file without its requirements, in place of another version.

    Raises:
        SetupError: pip failed.
    """
    _pip(python, "install", "--no-deps", "--no-index", "--force-reinstall", wheel)


def install_into(python: Path, folder: Path, lock: Path) -> None:
    """Install the packages of a lock file, all as wheels, into a folder apart from the venv.

    Raises:
        SetupError: pip failed.
    """
    _pip(python, "install", *BY_HASH, *ONLY_WHEELS, "--target", folder, "-r", lock)


def build_tools(python: Path) -> dict[str, str]:
    """Return the environment variables for a build without isolation.

    The build tools are installed by hash into a separate folder. For an isolated build, pip would
    fetch them unchecked: it supports no hashes in constraints, and since 25.3 no constraints.

    Raises:
        SetupError: pip failed.
    """
    lock, folder = LOCKS / "build.txt", VENV / "build-tools"
    stamp, digest = folder / ".installed", hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        install_into(python, folder, lock)
        stamp.write_text(digest)
    path = os.pathsep.join((str(folder / "bin"), os.environ.get("PATH", os.defpath)))
    return {"PYTHONPATH": str(folder), "PATH": path}


def download_engine(python: Path, folder: Path) -> Path:
    """Download the locked sources of llama-cpp-python into the folder; return the archive.

    Raises:
        SetupError: pip failed.
    """
    options = ["--no-cache-dir", "--require-hashes", "--no-binary", ":all:", "-d", folder]
    lock = LOCKS / "engine.txt"
    _pip(python, "download", *WITH_OUR_TOOLS, *options, "-r", lock, tools=build_tools(python))
    (archive,) = folder.glob("*.tar.gz")
    return archive


def say(line: str) -> None:
    """Print a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def report(main: object) -> None:
    """Call ``main`` and exit; print a `SetupError` without a traceback."""
    try:
        use_supported_python()
        sys.exit(main())  # type: ignore[operator]
    except SetupError as error:
        say(f"error: {error}")
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)


def _is_usable(python: Path) -> bool:
    """Return whether the venv is complete: Python may be removed, or pip not yet installed."""
    return (
        python.exists()
        and subprocess.run(
            [python, "-c", "import pip"], check=False, capture_output=True
        ).returncode
        == 0
    )


def pip_environment() -> dict[str, str]:
    """Return the environment for pip, without variables that change its choice of packages."""
    ours = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_ROOT_USER_ACTION": "ignore"}
    others = {"PIP_CONSTRAINT", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PYTHONPATH"}
    return {name: value for name, value in os.environ.items() if name not in others} | ours


def _fingerprint(group: str) -> str:
    """Return the content of a stamp, which depends on the lock file and the metadata."""
    digest = hashlib.sha256((LOCKS / f"{group}.txt").read_bytes())
    if group == "run":
        digest.update((LOCKS / "engine.txt").read_bytes() + (ROOT / "pyproject.toml").read_bytes())
    return f"{digest.hexdigest()} {ROOT}\n"


def _strictness(group: str) -> tuple[str, ...]:
    """Return pip's options: a lock with hashes is complete; that for training has only pins."""
    is_complete = "--hash=" in (LOCKS / f"{group}.txt").read_text()
    return (*BY_HASH, *ONLY_WHEELS) if is_complete else ()


def _pip(python: Path, *arguments: object, tools: dict[str, str] | None = None) -> None:
    """Run pip quietly; its output is shown only if it fails."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    command = [python, "-m", "pip", arguments[0], *options, *arguments[1:]]
    environment = {**pip_environment(), **(tools or {})}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip()
        raise SetupError(
            f"pip failed:\n{output}\nhint: is the package index reachable? Then run this again."
        )


def pinned_version() -> str:
    """Return the version of llama-cpp-python in the lock file."""
    match = re.search(r"==(\S+)", (LOCKS / "engine.txt").read_text())
    return match[1] if match else ""


def cache_folder() -> Path:
    """Return the user's cache folder, or one in the checkout if the home is not writable."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = base / "localrun"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # its content is installed, so others must not write there
    except OSError:
        folder = ROOT / ".cache"
    return folder if os.access(folder, os.W_OK) else ROOT / ".cache"


def machine_key() -> str:
    """Return a hash of the processor's features, the C library, the sources and the switches."""
    from engines.compiling import cmake_arguments, compiler_flags

    try:
        text = Path("/proc/cpuinfo").read_text()
        features = next(
            (line for line in text.splitlines() if line.startswith(("flags", "Features"))), ""
        )
    except OSError:
        features = platform.processor()
    parts = (
        platform.machine(),
        features,
        *platform.libc_ver(),
        (LOCKS / "engine.txt").read_text(),
        cmake_arguments(),
        *compiler_flags().values(),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
