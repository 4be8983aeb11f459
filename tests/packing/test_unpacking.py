"""The launcher: unpacks once, for whoever comes, and only what is whole."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localrun.errors import IntegrityError, StorageError
from tests.packing.conftest import Launched, launcher, program
from tests.program import BINARY

pytestmark = pytest.mark.skipif(BINARY is None, reason="scripts/test --binary FILE runs it")

assert sys.platform != "win32"

NOBODY = 65534
STARTED = 3  # the exit code of the small program's Python
NUM_DAMAGED = 40
A_MONTH_S = 30 * 24 * 3600
superuser = pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can be others")


def test_a_program_unpacks_and_starts_its_python(small: Launched) -> None:
    done = small.run("run", "guide", "a b")

    (tree,) = small.trees()
    assert done.returncode == STARTED
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == f"started: -P {tree}/bin/localrun run guide a b"
    assert lines[1] == f"file: {small.file}"
    assert (tree / "lib" / "link").read_text() == ""
    assert tree.stat().st_mode & 0o777 == 0o700


def test_the_file_has_the_name_that_was_typed(small: Launched) -> None:
    folder = small.file.parent / "bin"
    folder.mkdir()
    link = folder / "typed"
    link.symlink_to(small.file)
    by_path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    starts: list[tuple[str, Path, dict[str, str]]] = [
        (str(link), Path("/"), {}),
        ("./typed", folder, {}),
        ("../bin/typed", folder, {}),
        ("typed", Path("/"), by_path),
        ("typed", folder, {"PATH": f":{os.environ['PATH']}"}),  # found in the working folder
    ]

    names = [
        _named(["sh", "-c", 'exec "$0"', command], cwd=cwd, env=small.environ | more)
        for command, cwd, more in starts
    ]

    assert names == [f"file: {link}"] * len(starts)


def test_the_file_has_its_own_name_if_it_was_started_by_a_number(small: Launched) -> None:
    command = ["sh", "-c", 'exec 7< "$0"; exec /proc/self/fd/7', str(small.file)]

    assert _named(command, env=small.environ) == f"file: {small.file}"


def _named(command: list[str], env: dict[str, str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, cwd=cwd)
    return done.stdout.splitlines()[1]


def test_the_version_needs_nothing(small: Launched) -> None:
    done = small.run("--version")

    assert (done.returncode, done.stdout) == (0, "localrun 1.2.3\n")
    assert not small.folder.exists()


def test_variables_for_another_python_are_removed(small: Launched) -> None:
    done = small.run(PYTHONHOME="/x", PYTHONPATH="/y", PYTHONUTF8="1")

    assert [line for line in done.stdout.splitlines() if "PYTHON" in line] == ["PYTHONUTF8=1"]


def test_processes_at_the_same_time_unpack_once(small: Launched) -> None:
    running = [
        subprocess.Popen([small.file, "x"], env=small.environ, stdout=subprocess.PIPE)
        for _ in range(12)
    ]

    outputs = [process.communicate()[0].splitlines()[0] for process in running]

    (tree,) = small.trees()
    assert {process.returncode for process in running} == {STARTED}
    assert set(outputs) == {f"started: -P {tree}/bin/localrun x".encode()}


def test_a_half_unpacked_folder_of_a_killed_process_is_removed(small: Launched) -> None:
    small.run()
    (tree,) = small.trees()
    partial = tree.with_name(f"{tree.name}.partial")
    tree.rename(partial)
    (partial / "bin" / "python").write_text("half")

    done = small.run()

    assert done.returncode == STARTED
    assert small.trees() == [tree]


def test_a_tree_without_use_is_removed_and_a_used_one_is_not(tmp_path: Path) -> None:
    old, used, new = (program(tmp_path / name, name) for name in ("old", "used", "new"))
    shared = {"LOCALRUN_UNPACK": str(tmp_path / "shared")}
    for each in (old, used):
        each.run(**shared)
    trees = {path for path in (tmp_path / "shared").iterdir() if path.name != "lock"}
    for tree in trees:
        os.utime(tree / ".lock", (1, 1))
    used.run(**shared)

    new.run(**shared)

    left = {path for path in (tmp_path / "shared").iterdir() if path.name != "lock"}
    assert len(left) == 2
    assert len(left & trees) == 1


def test_a_tree_that_a_process_holds_is_not_removed(tmp_path: Path) -> None:
    old, new = (program(tmp_path / name, name) for name in ("old", "new"))
    shared = {"LOCALRUN_UNPACK": str(tmp_path / "shared")}
    old.run(**shared)
    (lock,) = (tmp_path / "shared").glob("*/.lock")
    with subprocess.Popen(["flock", "-s", lock, "cat"], stdin=subprocess.PIPE) as holder:
        _wait_for_lock(lock)
        os.utime(lock, (1, 1))

        new.run(**shared)

        assert lock.exists()
        assert holder.stdin is not None
        holder.stdin.close()


def _wait_for_lock(lock: Path) -> None:
    from tests.waiting import wait_until

    wait_until(lambda: subprocess.run(["flock", "-n", lock, "true"], check=False).returncode)


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_the_folder_is_in_the_cache_of_the_user(
    small: Launched, tmp_path: Path, variable: str
) -> None:
    environ = {"PATH": os.environ["PATH"], "LOCALRUN_WARM": "0", variable: str(tmp_path / "own")}

    done = subprocess.run([small.file], env=environ, check=False, capture_output=True)

    cache = tmp_path / "own" / (".cache" if variable == "HOME" else "")
    assert done.returncode == STARTED
    assert {path.name for path in cache.glob("localrun/unpacked/*")} > {"lock"}


def test_a_folder_that_cannot_be_written_is_named_with_the_variable(
    small: Launched, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    done = small.run(LOCALRUN_UNPACK=str(tmp_path / "file" / "folder"))

    assert done.returncode == StorageError.exit_code
    assert done.stderr == (
        f"error: cannot unpack into {tmp_path}/file/folder: Not a directory\n"
        "hint: LOCALRUN_UNPACK=FOLDER names another folder\n"
    )


@superuser
def test_a_full_disk_is_reported_with_both_sizes(small: Launched, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=1m none "$1" && LOCALRUN_UNPACK="$1/x" "$2"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(disk), str(small.file)]

    done = subprocess.run(command, env=small.environ, check=False, capture_output=True, text=True)

    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this machine mounts nothing")
    assert done.returncode == StorageError.exit_code
    assert "has 1 MB of free space; unpacking needs 16 MB" in done.stderr


@superuser
def test_a_folder_of_another_user_is_not_trusted(small: Launched) -> None:
    small.run()
    (tree,) = small.trees()
    os.chown(tree, NOBODY, NOBODY)

    done = small.run()

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tree} belongs to another user\n")


def test_a_folder_that_others_may_write_to_is_not_trusted(small: Launched) -> None:
    small.folder.mkdir()
    small.folder.chmod(0o777)

    done = small.run()

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: other users may write to {small.folder}\n")


@superuser
def test_a_tree_of_the_superuser_serves_all_users_and_is_not_written_to(small: Launched) -> None:
    small.run()
    (tree,) = small.trees()
    for path in (*Path(small.file).parents[:4], small.folder, tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o055)
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    command += [str(small.file)]

    done = subprocess.run(command, env=small.environ, check=False, capture_output=True)

    assert done.returncode == STARTED


def test_a_c_library_that_is_too_old_is_named(small: Launched) -> None:
    done = small.run(GLIBC="2.28")

    assert done.returncode == 1
    assert done.stderr == (
        "error: the C library of this machine is glibc 2.28; localrun needs glibc 2.31 or later\n"
    )
    assert small.trees() == []


def test_damaged_files_leave_nothing(small: Launched) -> None:
    data = bytearray(small.file.read_bytes())
    begin = len(launcher())
    chance = random.Random(0)  # noqa: S311 - no secret
    for _ in range(NUM_DAMAGED):
        position = chance.randrange(begin, len(data))
        damaged = bytearray(data)
        damaged[position] ^= 1 << chance.randrange(8)
        small.file.unlink()
        small.file.write_bytes(damaged)
        small.file.chmod(0o755)

        done = small.run()

        assert done.returncode in {IntegrityError.exit_code, StorageError.exit_code}, position
        assert done.stderr.startswith("error: ")
        assert not small.folder.exists() or small.trees() == []


@pytest.mark.parametrize("num_missing", [1, 111, 112, 113, 300])
def test_a_file_that_is_cut_off_is_damaged(small: Launched, num_missing: int) -> None:
    small.file.write_bytes(small.file.read_bytes()[:-num_missing])

    done = small.run("--version")

    assert done.returncode == IntegrityError.exit_code
    assert done.stderr == (
        "error: this file of localrun is damaged or not complete\nhint: download the file again\n"
    )


def test_no_python_and_no_path_are_needed(small: Launched) -> None:
    shutil.copy(small.file, small.file.with_name("other"))

    done = subprocess.run(
        [small.file.with_name("other")], env={"LOCALRUN_UNPACK": str(small.folder)}, check=False
    )

    assert done.returncode == STARTED
