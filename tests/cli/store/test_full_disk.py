"""Commands on a full disk, and blobs that an earlier program cut short."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from localrun.store.store import embedded_models
from tests.program import IN_SHELL
from tests.services.making import digest, gguf
from tests.waiting import HANG_S

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localrun.store.store import Store
    from tests.cli.conftest import Localrun

WEIGHTS = gguf(5, 300_000)
DISK_BYTES = 8 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(WEIGHTS)
    return path


def limited(
    env: dict[str, str], folder: Path, num_bytes: int
) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Return what runs a command line whose files cannot grow past a number of bytes."""
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (num_bytes, num_bytes))

    def run(arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f"{IN_SHELL} {arguments}"],
            check=False,
            capture_output=True,
            text=True,
            env=env,
            cwd=folder,
            timeout=HANG_S,
            preexec_fn=limit,
        )

    return run


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("out", ["-o model.tar", "-o - > model.tar"])
def test_an_archive_that_does_not_fit_is_an_error_however_it_is_written(
    out: str,
    unbuffered: str,
    localrun: Localrun,
    env: dict[str, str],
    tmp_path: Path,
    source: Path,
) -> None:
    localrun("import", str(source), "mine")
    localrun("export", "mine", "-o", "whole.tar")
    size = (tmp_path / "whole.tar").stat().st_size
    env["PYTHONUNBUFFERED"] = unbuffered

    for limit in (size - 1, size - 1025, len(WEIGHTS) + 1):
        failed = limited(env, tmp_path, limit)(f"export mine {out}")
        assert (failed.returncode, failed.stderr.count("error:")) == (8, 1), failed.stderr
        assert out.endswith("> model.tar") or not list(tmp_path.glob("model.tar*"))

    assert limited(env, tmp_path, size)(f"export mine {out}").returncode == 0
    assert (tmp_path / "model.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()


def test_a_full_device_is_said(localrun: Localrun, source: Path) -> None:
    localrun("import", str(source), "mine")

    done = localrun("export", "mine", "-o", "/dev/full")

    assert (done.returncode, done.stderr.splitlines()[0]) == (
        8,
        "error: the disk of /dev/full is full",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk of its own")
def test_a_small_disk_takes_no_model_until_it_has_room(
    localrun: Localrun, env: dict[str, str], tmp_path: Path
) -> None:
    source, disk = tmp_path / "large.gguf", tmp_path / "disk"
    source.write_bytes(gguf(6, DISK_BYTES - 100_000))
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount")
    try:
        env["LOCALRUN_MODELS"] = str(disk / "store")
        (disk / "filler").write_bytes(bytes(1_000_000))
        failed, verified = localrun("import", str(source), "mine"), localrun("verify")
        (disk / "filler").unlink()
        done = localrun("import", str(source), "mine")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)

    assert failed.returncode == 8
    assert "is full" in failed.stderr
    assert (verified.returncode, done.returncode) == (0, 0)


def test_a_blob_that_was_cut_short_is_found_and_replaced(
    localrun: Localrun, store: Store, tmp_path: Path
) -> None:
    source, weights = tmp_path / "guide.gguf", embedded_models()["guide:latest"].read_bytes()
    source.write_bytes(weights)
    localrun("cp", "guide", "mine")
    blob = store.layout.blob(digest(weights))
    localrun("rm", "mine")
    blob.write_bytes(weights[:-1])  # as if a full disk had cut it

    quick, full = localrun("verify", "--quick", "--json"), localrun("verify")
    (source.parent / "Modelfile").write_text(f"FROM {source}")
    created = localrun("create", "again")

    assert (quick.returncode, full.returncode) == (4, 4)
    assert [bad["digest"] for bad in json.loads(quick.stdout)["bad"]] == [digest(weights)]
    assert str(blob) in full.stdout
    assert (created.returncode, created.stderr.count("error:")) == (0, 0)
    assert blob.read_bytes() == weights
    assert localrun("verify").returncode == 0


def test_a_repair_deletes_what_is_bad_and_no_model_names(
    localrun: Localrun, store: Store, source: Path
) -> None:
    localrun("import", str(source), "mine")
    blob = store.layout.blob("sha256:" + "0" * 64)
    blob.write_bytes(b"anything")

    repaired = localrun("verify", "--repair")

    assert repaired.returncode == 0
    assert not blob.exists()
    assert localrun("verify", "--quick").returncode == 0


def test_every_command_names_the_model_of_a_missing_file(
    localrun: Localrun, store: Store, source: Path
) -> None:
    localrun("import", str(source), "mine")
    store.layout.blob(digest(WEIGHTS)).unlink()
    (source.parent / "Modelfile").write_text("FROM mine")
    commands = [
        "show mine",
        "run mine hi",
        "push mine 127.0.0.1:9/me/mine",
        "export mine -o mine.tar",
        "cp mine yours",
        "create other",
    ]

    done = {command: localrun(*command.split()) for command in commands}
    listed = localrun("list")

    assert {command: each.returncode for command, each in done.items()} == dict.fromkeys(
        commands, 4
    )
    for each in done.values():
        assert "error: mine:latest: a file of the model is missing" in each.stderr
        assert "hint: localrun verify --repair" in each.stderr
    assert (listed.returncode, "mine" in listed.stdout) == (0, False)
    assert not (source.parent / "mine.tar").exists()
