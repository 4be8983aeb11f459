"""Fixtures for all tests: golden files, a store of their own, patience."""

from __future__ import annotations

import atexit
import faulthandler
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck, settings

from tests.unix_calls import is_for_another_system
from tests.waiting import HANG_S

if sys.platform == "linux":
    from tests.warm_process import lead_commands, warm_process

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

# a machine that is busy with other tests is slow, and that is no fault of theirs
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
# all of httpx's functions have this object as the default of their timeout, which is 5 s
for _phase in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _phase, HANG_S)

# programs under test inherit it, and a shell starts what runs in its background with SIGINT ignored
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# servers under test keep their sockets away from the user's; a short path, which sockets need
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="localrun-")
atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)

# and do not go on with the user's batches
os.environ["LOCALRUN_BATCHES"] = str(Path(os.environ["XDG_RUNTIME_DIR"], "batches"))

GOLDEN = Path(__file__).parent / "golden"
LONG = ("e2e", "hostile", "docs", "engine", "cli", "server", "supervisor", "warm", "registry")


STDERR = pytest.StashKey[int]()
MAX_ERROR = 500


class Golden(Protocol):
    def __call__(self, name: str, text: str) -> None:
        """Compare ``text`` with the golden file ``name``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden")
    parser.addoption(
        "--warm",
        choices=("server", "always", "never"),
        default="server",
        help="commands run in workers: where there is a server (the default), always, never",
    )
    parser.addoption(
        "--transport",
        choices=("unix", "tcp"),
        default="unix",
        help="how processes connect: tcp is without Unix sockets and warm process, as on Windows",
    )
    parser.addoption("--hostile", action="store_true", help="try all of tests/hostile")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Distribute files, and the tests of browsers."""
    from tests.scheduling import FileAndBrowserScheduling  # needs xdist

    return FileAndBrowserScheduling(config, log) if config.option.dist == "loadfile" else None


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real standard error: pytest replaces the descriptor while a test runs."""
    config.stash[STDERR] = os.dup(2)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out files whose tests need another system."""
    return True if is_for_another_system(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let several processes begin with the long files, so that none is left with one at the end."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(GOLDEN.parent).parts[0]
        return LONG.index(folder) if folder in LONG else len(LONG)

    if hasattr(config, "workerinput"):
        items.sort(key=place)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End a process that hangs where no signal reaches it, with the stacks of its threads.

    pytest-timeout raises in the main thread, which native code or a finalizer may never let happen.
    The other processes then report which test it was, and go on.
    """
    marker = item.get_closest_marker("timeout")
    timeout = float(marker.args[0] if marker else item.config.getini("timeout"))
    faulthandler.dump_traceback_later(timeout + HANG_S, exit=True, file=item.config.stash[STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name a failure as it happens: of a run that is stopped, nothing else is known."""
    if report.failed and hasattr(report, "node"):  # which xdist's first process alone sets
        error = getattr(getattr(report.longrepr, "reprcrash", None), "message", report.longreprtext)
        sys.stdout.write(f"\nFAILED {report.nodeid}: {error[:MAX_ERROR]}\n")


@pytest.fixture(scope="session", autouse=True)
def _way_of_commands(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the commands that tests start run in workers, or not, as the option says."""
    way = request.config.getoption("--warm")
    with pytest.MonkeyPatch.context() as monkeypatch:
        if request.config.getoption("--transport") == "tcp":
            monkeypatch.setenv("LOCALRUN_TRANSPORT", "tcp")
        if way == "never":
            monkeypatch.setenv("LOCALRUN_WARM", "0")
        if way == "always" and sys.platform == "linux":
            socket = Path(os.environ["XDG_RUNTIME_DIR"], "tests", "warm")
            with warm_process(socket):
                lead_commands(socket, monkeypatch)
                yield
        else:
            yield


@pytest.fixture(autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests, and the programs that they start, away from the user's models."""
    monkeypatch.setenv("LOCALRUN_MODELS", str(tmp_path_factory.mktemp("models") / "store"))
    monkeypatch.setenv("LOCALRUN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing: scripts/test --update-golden writes it"
        assert text == path.read_text()

    return check
