"""A worker is the process that its client would have been."""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import json
import os
import resource
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.warm import probe
from tests.warm.conftest import without_frames
from tests.warm_process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.warm.conftest import Probe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks so")
MEGABYTE = 1 << 20
IS_ROOT = sys.platform == "linux" and os.getuid() == 0


def state(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_worker_has_the_state_of_its_client(probed: Probe) -> None:
    probed.both("show_state", "a b", "", "ä")


def test_umask_and_ignored_signals_are_the_clients(probed: Probe) -> None:
    def prepare() -> None:
        os.umask(0o037)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)

    found = state(probed.both("show_state", preexec_fn=prepare))

    assert found["umask"] == 0o037
    assert {signal.SIGHUP, signal.SIGQUIT} <= set(found["ignored"])


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("RLIMIT_NOFILE", (300, 300)),
        ("RLIMIT_NOFILE", (40, 500)),
        ("RLIMIT_FSIZE", (MEGABYTE, 2 * MEGABYTE)),
        ("RLIMIT_CPU", (1000, 1001)),
        ("RLIMIT_CORE", (0, 0)),
    ],
)
def test_lower_limits_are_taken(probed: Probe, name: str, limits: tuple[int, int]) -> None:
    number = getattr(resource, name)

    found = state(probed.both("show_state", preexec_fn=lambda: resource.setrlimit(number, limits)))

    assert found["limits"][name] == [*limits]


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("RLIMIT_AS", 4096 * MEGABYTE),
        ("RLIMIT_DATA", 4096 * MEGABYTE),
        ("RLIMIT_STACK", 4 * MEGABYTE),
        ("RLIMIT_NOFILE", 20),
    ],
)
def test_limits_that_count_from_the_start_take_the_ordinary_way(
    probed: Probe, name: str, limit: int
) -> None:
    number = getattr(resource, name)

    probed.both(
        "show_state",
        way=probe.ORDINARY,
        preexec_fn=lambda: resource.setrlimit(number, (limit, limit)),
    )


def test_niceness_and_processors_are_the_clients(probed: Probe) -> None:
    processor = min(os.sched_getaffinity(0))

    def prepare() -> None:
        os.nice(5)
        os.sched_setaffinity(0, {processor})

    found = state(probed.both("show_state", preexec_fn=prepare))

    assert (found["nice"], found["processors"]) == (os.nice(0) + 5, [processor])


def test_another_scheduler_takes_the_ordinary_way(probed: Probe) -> None:
    def prepare() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    probed.both("show_state", way=probe.ORDINARY, preexec_fn=prepare)


@pytest.mark.parametrize(
    ("variables", "way"),
    [
        ({"LC_ALL": "C.UTF-8"}, probe.WARM),
        ({"LC_ALL": "C"}, probe.WARM if sys.flags.utf8_mode else probe.ORDINARY),
        ({"TZ": "Asia/Kolkata"}, probe.WARM),
        ({"TMPDIR": "/var/tmp"}, probe.WARM),  # noqa: S108 - a folder that exists
        ({"PYTHONUNBUFFERED": "1"}, probe.WARM),
        ({"PYTHONDONTWRITEBYTECODE": "1"}, probe.WARM),
        ({"PYTHONDONTWRITEBYTECODE": ""}, probe.WARM),
        ({"PYTHONIOENCODING": "latin-1"}, probe.ORDINARY),
        ({"PYTHONUTF8": "0", "LC_ALL": "C"}, probe.ORDINARY),
        ({"PYTHONHASHSEED": "3"}, probe.ORDINARY),
        ({"FORCE_COLOR": "1"}, probe.ORDINARY),
        ({"TERMINAL_WIDTH": "30"}, probe.ORDINARY),
        ({"LD_LIBRARY_PATH": "/nowhere"}, probe.ORDINARY),
    ],
)
def test_variables_of_the_interpreter_and_the_system(
    probed: Probe, variables: dict[str, str], way: str
) -> None:
    probed.both("show_state", way=way, variables={"LC_ALL": "", **variables})


def test_options_of_the_interpreter_take_the_ordinary_way(probed: Probe) -> None:
    command = [sys.executable, "-O", "-m", "tests.warm.probe", "end", "3"]

    done = subprocess.run(command, check=False, env=probed.environ(is_warm=True))

    assert (done.returncode, probed.ways()) == (3, [probe.ORDINARY])


def test_a_folder_that_no_longer_exists(probed: Probe, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = (
        f"import os, runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['', 'show_state'];"
        f"os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r});"
        "runpy.run_module('tests.warm.probe', run_name='__main__', alter_sys=True)"
    )
    for is_warm in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            env=probed.environ(is_warm=is_warm),
        )
        assert state(done)["folder"] == "gone"

    assert probed.ways() == [probe.WARM, probe.ORDINARY]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(probed: Probe, closed: str) -> None:
    codes = []
    for is_warm in (True, False):
        shell = ["bash", "-c", f"{sys.executable} -m tests.warm.probe end 3 {closed}"]
        codes.append(subprocess.run(shell, check=False, env=probed.environ(is_warm=is_warm)))

    assert [done.returncode for done in codes] == [3, 3]
    assert probed.ways() == [probe.ORDINARY, probe.ORDINARY]


@pytest.mark.parametrize("target", ["| head -c 100", "> /dev/full", "2>&1 > /dev/full | cat"])
@pytest.mark.parametrize("act", ["flood", "finish"])
def test_a_reader_that_leaves_and_a_full_disk(probed: Probe, target: str, act: str) -> None:
    found = []
    for is_warm in (True, False):
        script = f"{sys.executable} -m tests.warm.probe {act} {target}; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            capture_output=True,
            env=probed.environ(is_warm=is_warm),
        )
        found.append((without_frames(done.stdout), without_frames(done.stderr)))

    assert found[0] == found[1]
    assert probed.ways() == [probe.WARM, probe.ORDINARY]


@pytest.mark.parametrize("code", ["0", "3", "255", "256", "-1", "a text", ""])
def test_exit_codes(probed: Probe, code: str) -> None:
    probed.both("end", code)


def test_an_error_that_nobody_catches(probed: Probe) -> None:
    assert probed.both("fail").returncode == 1


def test_what_is_left_to_the_end_of_the_interpreter(probed: Probe) -> None:
    assert probed.both("finish").stdout == b"main\nthread\nlast\n"


@pytest.mark.parametrize("name", ["TERM", "KILL", "HUP", "SEGV", "USR1", "PIPE", "ALRM"])
def test_a_command_that_dies_by_a_signal(probed: Probe, name: str) -> None:
    number = getattr(signal, f"SIG{name}")

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    done = probed.both("die", str(int(number)), preexec_fn=prepare)

    assert done.returncode in {-number, 0}  # Python ignores SIGPIPE


def test_arguments_and_environment_of_two_megabytes(probed: Probe) -> None:
    words = ["x" * 100_000] * 10
    variables = {f"V{number}": "y" * 100_000 for number in range(10)}

    probed.both("measure", *words, variables=variables)


def test_names_that_are_not_text(probed: Probe) -> None:
    probed.both("measure", os.fsdecode(b"\xff\xfe"), variables={"V": os.fsdecode(b"\xff")})


def test_a_path_to_an_own_file_takes_the_ordinary_way(probed: Probe) -> None:
    probed.both("measure", "/dev/fd/7", way=probe.ORDINARY)
    probed.both("measure", "-f", "/dev/stdin")


def test_a_server_is_no_worker_of_another(probed: Probe) -> None:
    probed.both("serve", way=probe.ORDINARY)


def test_stdin_and_a_large_answer(probed: Probe) -> None:
    text = b"line\n" * 100_000

    assert probed.both("echo", stdin=text).stdout == text


@pytest.mark.skipif(not IS_ROOT, reason="only root may")
@pytest.mark.parametrize(
    "wrapper",
    [
        ["setpriv", "--bounding-set", "-net_raw"],
        ["setpriv", "--no-new-privs"],
        ["setpriv", "--regid", "65534", "--clear-groups"],
        ["unshare", "--uts"],
        ["unshare", "--ipc", "--net"],
        ["unshare", "--mount"],
        ["unshare", "--pid", "--fork"],
    ],
)
def test_other_rights_take_the_ordinary_way(probed: Probe, wrapper: list[str]) -> None:
    command = [*wrapper, sys.executable, "-m", "tests.warm.probe", "end", "3"]
    if subprocess.run([*wrapper, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("not in this container")

    done = subprocess.run(command, check=False, env=probed.environ(is_warm=True))

    assert (done.returncode, probed.ways()) == (3, [probe.ORDINARY])


def test_a_blocked_signal_takes_the_ordinary_way(probed: Probe) -> None:
    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

    probed.both("show_state", way=probe.ORDINARY, preexec_fn=prepare)


def test_nohup(probed: Probe) -> None:
    done = subprocess.run(
        ["nohup", sys.executable, "-m", "tests.warm.probe", "die", str(int(signal.SIGHUP))],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=probed.environ(is_warm=True),
    )

    assert (done.returncode, probed.ways()) == (0, [probe.WARM])
