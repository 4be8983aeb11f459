"""Setup of ``.venv`` for the other scripts; requires only a Python and a compiler.

Owns `.venv` and the cached wheel of llama-cpp-python. All packages are installed from the lock
files in ``scripts/locks`` (written by ``scripts/lock``). A stamp in `.venv` records each installed
lock file, so that a second run takes no time.

    <cache>/localrun/wheels/<machine key>/llama_cpp_python-0.3.36-*.whl

The wheel is compiled for the local processor, so the name of its folder depends on the processor's
features and the lock file: a home folder shared by two machines has two wheels. This module runs on
any Python 3; `use_supported_python` restarts the script with 3.11 or later.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "scripts" / "locks"
VENV = ROOT / ".venv"
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
AMX_FIXED_IN = {11: (11, 5), 12: (12, 4), 13: (13, 3)}  # by GCC's major version
WITH_OUR_TOOLS = ("--no-build-isolation", "--no-deps")  # builds with `build_tools` only
BY_HASH = ("--require-hashes", "--no-deps")
ONLY_WHEELS = ("--only-binary", ":all:")  # else pip would build with unchecked packages
PROGRESS = re.compile(r"\[\s*(\d+)/(\d+)\]")


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


def ensure(*groups: str) -> Path:
    """Install localrun and the named lock files into ``.venv``; return its Python."""
    python = VENV / "bin" / "python"
    if not _is_usable(python):
        create_venv(VENV)
    for group in ("run", *groups):
        stamp = VENV / f".installed-{group}"
        fingerprint = _fingerprint(group)
        if stamp.is_file() and stamp.read_text() == fingerprint:
            continue
        if group == "run":
            _install_engine(python)
        say(f"installing the packages of {group} ...")
        install(python, group)
        if group == "run":
            _pip(python, "install", *WITH_OUR_TOOLS, "--editable", ROOT, tools=build_tools(python))
        stamp.write_text(fingerprint)
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
        _pip(python, "install", *BY_HASH, *ONLY_WHEELS, "--target", folder, "-r", lock)
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


def _install_engine(python: Path) -> None:
    """Install llama-cpp-python from the cached wheel, compiled first if it does not exist."""
    folder = cache_folder() / "wheels" / machine_key()
    wheel = next(folder.glob("llama_cpp_python-*.whl"), None)
    if wheel is None:
        wheel = _compile_engine(python, folder)
    _pip(python, "install", "--no-deps", "--no-index", "--force-reinstall", wheel)


def _compile_engine(python: Path, folder: Path) -> Path:
    _require_compiler()
    say("compiling llama.cpp, once for this machine (about 3 minutes on 4 cores) ...")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [python, "-m", "pip", "wheel", "--verbose", "--no-cache-dir", "--require-hashes"]
        command += [*WITH_OUR_TOOLS, "--no-binary", ":all:", "-w", scratch]
        command += ["-r", LOCKS / "engine.txt"]
        _run_with_progress(command, folder / "build.log", build_tools(python))
        (built,) = Path(scratch).glob("*.whl")
        return built.replace(folder / built.name)


def _require_compiler() -> None:
    if not (
        shutil.which("c++")
        or shutil.which("g++")
        or shutil.which("clang++")
        or os.environ.get("CXX")
    ):
        raise SetupError(
            "no C++ compiler was found, and llama.cpp has to be compiled.\n"
            "hint: sudo apt install build-essential   (Debian, Ubuntu; others: gcc with g++)"
        )


def _compiler_flags() -> dict[str, str]:
    """Return CFLAGS and CXXFLAGS that disable AMX if the compiler generates wrong code for it.

    GCC before 11.5, 12.4, 13.3 and 14 passes 8 of the 64 bytes of a tile configuration
    (https://gcc.gnu.org/PR114098): the first matrix product ends in SIGSEGV.
    """
    macros = _native_macros()
    if "__AMX_INT8__" not in macros or "__clang__" in macros:
        return {}
    version = tuple(int(macros.get(name, "0")) for name in ("__GNUC__", "__GNUC_MINOR__"))
    if version >= AMX_FIXED_IN.get(version[0], (14, 0)):
        return {}
    return {
        name: f"{os.environ.get(name, '')} -U__AMX_INT8__".strip()
        for name in ("CFLAGS", "CXXFLAGS")
    }


def _native_macros() -> dict[str, str]:
    """Return the compiler's macros for this processor; empty without a compiler."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or "clang++"
    command = [*shlex.split(compiler), "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError:
        return {}
    lines = (line.split(maxsplit=2) for line in done.stdout.splitlines())
    return {words[1]: words[2] if len(words) > 2 else "" for words in lines if len(words) > 1}


def _run_with_progress(command: list[object], log: Path, tools: dict[str, str]) -> None:
    """Run the compilation, with its progress on one line; the whole output goes to a log file."""
    ours = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment = {**_pip_environment(), **_compiler_flags(), **tools, **ours}
    terminal, last_percent = sys.stderr.isatty(), -1
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            errors="replace",
        )
        for line in process.stdout or ():
            out.write(line)
            match = PROGRESS.search(line)
            percent = 100 * int(match[1]) // int(match[2]) if match else last_percent
            if percent > last_percent and (terminal or percent // 10 > last_percent // 10):
                last_percent = percent
                sys.stderr.write(f"\r  {percent:3d}%" if terminal else f"  {percent:3d}%\n")
                sys.stderr.flush()
        if terminal:
            sys.stderr.write("\n")
        if process.wait() != 0:
            tail = "".join(log.read_text().splitlines(keepends=True)[-15:])
            raise SetupError(
                f"llama-cpp-python did not compile:\n{tail}\nhint: the whole log is {log}"
            )


def _pip(python: Path, *arguments: object, tools: dict[str, str] | None = None) -> None:
    """Run pip quietly; its output is shown only if it fails."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    command = [python, "-m", "pip", arguments[0], *options, *arguments[1:]]
    environment = {**_pip_environment(), **(tools or {})}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip()
        raise SetupError(
            f"pip failed:\n{output}\nhint: is the package index reachable? Then run this again."
        )


def _pip_environment() -> dict[str, str]:
    """Return the environment for pip, without variables that change its choice of packages."""
    ours = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_ROOT_USER_ACTION": "ignore"}
    others = {"PIP_CONSTRAINT", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PYTHONPATH"}
    return {name: value for name, value in os.environ.items() if name not in others} | ours


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
    """Return a hash of the processor's features, the C library and the pinned sources."""
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
        os.environ.get("CMAKE_ARGS", ""),
        *_compiler_flags().values(),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
