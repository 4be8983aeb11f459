"""Where quickstart gets llama-cpp-python from: four ways, tried in order.

1. ``LOCALRUN_ENGINE_WHEEL``: a file, a folder, a URL or an index. If it fails, so does the setup.
2. What an earlier setup or build kept:

       <cache>/localrun/wheels/<machine key>/*.whl   compiled here, or downloaded and tried here
                               portable/*.whl        built by scripts/build-engine

3. llama-cpp-python's public index for the backend that fits this machine (`public`), at
   ``LOCALRUN_ENGINE_INDEX``; "off" skips it. A wheel without a digest is not taken.
4. Compilation for the local processor; the only way if ``CMAKE_ARGS`` is set.

A wheel that was not compiled here must compute in a process of its own before it is kept: some are
compiled for newer processors and would end in SIGILL. The machine key depends on the processor's
features and the lock file: a home folder shared by two machines has two wheels.
"""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

import environment

from engines import compiling, converter, explicit, public, trial, wheel_file
from engines.fetching import WheelError

WHEEL = "LOCALRUN_ENGINE_WHEEL"


def install_engine(python: Path) -> None:
    """Install the pinned llama-cpp-python by the first way that works.

    Raises:
        SetupError: the wheel that was demanded does not work, or the compilation failed.
    """
    demanded = os.environ.get(WHEEL, "").strip()
    if demanded:
        _install_demanded(python, demanded)
    elif not (_install_kept(python) or _install_public(python)):
        _compile(python, machine_folder())
    _stamp().write_text(_state(demanded))


def is_another_demanded() -> bool:
    """Return whether the variable names a wheel that is not installed."""
    demanded = os.environ.get(WHEEL, "").strip()
    stamp = _stamp()
    return bool(demanded) and not (stamp.is_file() and stamp.read_text() == _state(demanded))


def machine_folder() -> Path:
    """Return the folder of wheels for this machine only."""
    return environment.cache_folder() / "wheels" / environment.machine_key()


def portable_folder() -> Path:
    """Return the folder of wheels for all processors."""
    return environment.cache_folder() / "wheels" / "portable"


def _compile(python: Path, folder: Path) -> None:
    """Compile and install; another setup that compiles the same now is waited for."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                environment.say("another setup compiles llama.cpp; waiting for it ...")
                fcntl.flock(lock, fcntl.LOCK_EX)
        if not _install_own(python):
            environment.install_wheel(python, compiling.compile_wheel(python, folder))


def _install_demanded(python: Path, demanded: str) -> None:
    scratch = environment.cache_folder() / "wheels" / "demanded"
    try:
        wheel = explicit.find(demanded, scratch)
        environment.install_wheel(python, wheel)
        trial.run(python)
        converter.install_beside(wheel)
    except WheelError as error:
        raise environment.SetupError(
            f"{WHEEL}: {error}\nhint: unset {WHEEL}; quickstart then finds or compiles one"
        ) from error


def _install_kept(python: Path) -> bool:
    """Install a wheel that was compiled here, or a portable one that works here."""
    if _install_own(python):
        return True
    if os.environ.get("CMAKE_ARGS"):
        return False
    host = wheel_file.Host.of_this_process()
    for wheel in sorted(portable_folder().glob("llama_cpp_python-*.whl")):
        name = wheel_file.parse_name(wheel.name)
        if name is None or name.version != environment.pinned_version():
            continue
        if wheel_file.misfit(name, host) is None and _works(python, wheel):
            converter.install_beside(wheel)
            return True
    return False


def _install_own(python: Path) -> bool:
    """Install the wheel that is kept for this machine, if there is one."""
    own = next(machine_folder().glob("llama_cpp_python-*.whl"), None)
    if own is not None:
        environment.install_wheel(python, own)
    return own is not None


def _install_public(python: Path) -> bool:
    """Install the public wheel that fits, and keep it for this machine."""
    if os.environ.get("CMAKE_ARGS"):
        return False
    folder = machine_folder()
    for wheel in public.candidates(folder / "downloads"):
        if _works(python, wheel):
            wheel.replace(folder / wheel.name)
            return True
        wheel.unlink()
    return False


def _works(python: Path, wheel: Path) -> bool:
    try:
        explicit.verify(wheel)
        environment.install_wheel(python, wheel)
        trial.run(python)
    except WheelError as error:
        environment.say(f"{wheel.name} is not used: {error}")
        return False
    return True


def _stamp() -> Path:
    return environment.VENV / ".installed-engine"


def _state(demanded: str) -> str:
    """Return the content of the stamp; a file that was built again is another one."""
    file = Path(demanded)
    changed = file.stat().st_mtime_ns if demanded and file.exists() else 0
    return f"{demanded} {changed}\n"
