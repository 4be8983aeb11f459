"""Kill processes at random instants: no name is ever broken, and nothing stays behind.

``LOCALRUN_CRASHES=5000`` kills more often than the default; ``LOCALRUN_CRASH_SEED`` repeats
the choices of a run, though not its instants.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from localrun.store.blobs import file_digest
from localrun.store.layout import Layout
from localrun.store.refs import list_refs, ref_files
from localrun.store.store import Store
from localrun.store.sweep import needed_digests, sweep
from tests.e2e.crashing import OPERATIONS, Order, Outcome
from tests.fakes.hub import FakeHub, fake_hub
from tests.gguf.builder import STRING, header, pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUM_CRASHES = int(os.environ.get("LOCALRUN_CRASHES", "300"))
SEED = int(os.environ.get("LOCALRUN_CRASH_SEED", "0")) or random.randrange(1, 1 << 30)  # noqa: S311
CHECKED_EVERY = 20
LONGEST_RUN_S, LONGEST_GAP_S = 0.040, 0.010
WITHOUT_KILLS_S = 4.0
HEX = re.compile("[0-9a-f]{64}")


class Crew:
    """The program that forks workers on one store, and that store."""

    def __init__(self, folder: Path, hub: FakeHub) -> None:
        self.store = Store(folder / "models")
        (folder / "files").mkdir()
        for name, content in _files().items():
            (folder / "files" / name).write_bytes(content)
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.crashing", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "HF_ENDPOINT": hub.url,
                "MODELSCOPE_ENDPOINT": hub.url,
                "HOME": str(folder),
                "LOCALRUN_MODELS": str(folder / "models"),
            },
        )

    def follow(self, order: Order) -> Outcome:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps(asdict(order)) + "\n")
        self._program.stdin.flush()
        outcome = Outcome(**json.loads(self._program.stdout.readline()))
        assert outcome.failures == [], f"LOCALRUN_CRASH_SEED={SEED}"
        return outcome

    def close(self) -> None:
        self._program.communicate()


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    with fake_hub() as hub:
        for repo, files in _repositories().items():
            hub.add(f"crash/{repo}", files)
        crew = Crew(tmp_path, hub)
        try:
            yield crew
        finally:
            crew.close()


@pytest.mark.timeout(60 + NUM_CRASHES)
def test_kills_at_any_instant_break_no_name_and_leak_nothing(crew: Crew) -> None:
    chance = random.Random(SEED)  # noqa: S311 - no secret
    begun: set[str] = set()

    for number in range(NUM_CRASHES):
        begun |= set(crew.follow(_crash(chance)).begun)
        if number % CHECKED_EVERY == 0:
            assert_whole(crew.store)

    assert begun == set(OPERATIONS)
    assert_whole(crew.store)
    sweep(crew.store, partial_kept_s=0)
    assert_whole(crew.store)
    assert_nothing_is_left(crew.store)


def test_processes_on_one_store_do_not_disturb_each_other(crew: Crew) -> None:
    seeds = list(range(SEED, SEED + 6))

    outcome = crew.follow(Order(seeds=seeds, run_s=WITHOUT_KILLS_S, is_killed=False))

    assert set(outcome.begun) == set(OPERATIONS)
    assert_whole(crew.store)
    sweep(crew.store, partial_kept_s=0)
    assert_nothing_is_left(crew.store)


def assert_whole(store: Store) -> None:
    """Check that every name can be read and every blob has the bytes that its name says."""
    refs = list_refs(store.layout)
    assert len(refs) == len(list(ref_files(store.layout)))
    assert [entry.ref for entry in store.entries()] == refs
    for path in store.layout.blobs.iterdir():
        assert HEX.fullmatch(path.name)
        assert file_digest(path) == f"sha256:{path.name}"
    for entry in store.entries():
        for blob in (*entry.manifest.blobs,):
            assert store.blobs.path(blob.digest).stat().st_size == blob.size_bytes


def assert_nothing_is_left(store: Store) -> None:
    """Check that a sweep has left what the names need and nothing else."""
    layout = store.layout
    assert _names(layout.blobs) == {digest[7:] for digest in needed_digests(store)}
    assert _names(layout.root / "links") <= _names(layout.blobs)
    assert [_names(folder) for folder in (layout.tmp, layout.leases, layout.partial)] == [set()] * 3
    assert _empty_folders(layout) == []


def _crash(chance: random.Random) -> Order:
    return Order(
        seeds=[chance.randrange(1 << 30) for _ in range(chance.choice([1, 2]))],
        run_s=chance.uniform(0, LONGEST_RUN_S),
        gap_s=chance.choice([0, chance.uniform(0, LONGEST_GAP_S)]),
    )


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _empty_folders(layout: Layout) -> list[Path]:
    folders = [path for path in layout.refs.rglob("*") if path.is_dir()]
    return [folder for folder in folders if not any(folder.iterdir())]


def _gguf(seed: int, size_bytes: int) -> bytes:
    head = header([pair("general.architecture", STRING, "llama")])
    return head + random.Random(seed).randbytes(size_bytes)  # noqa: S311 - no secret


def _repositories() -> dict[str, dict[str, bytes]]:
    template, licence = b"{{ messages }}" * 100, b"Do what you like."
    return {
        "small": {"small-Q4_K_M.gguf": _gguf(1, 20_000), "chat_template.jinja": template},
        "large": {"large-Q4_K_M.gguf": _gguf(2, 6 << 20), "LICENSE": licence},
        "split": {
            f"split-Q4_K_M-0000{number}-of-00002.gguf": _gguf(2 + number, 300_000)
            for number in (1, 2)
        }
        | {"chat_template.jinja": template},
        "plain": {"plain-Q4_K_M.gguf": _gguf(1, 20_000), "LICENSE": licence},
    }


def _files() -> dict[str, bytes]:
    """Return files to import: one of its own, and one with the bytes of a repository's."""
    return {"own.gguf": _gguf(5, 1 << 20), "same.gguf": _gguf(1, 20_000)}
