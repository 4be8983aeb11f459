"""Kill processes at random instants: no name is ever broken, and nothing stays behind.

``LOCALRUN_CRASHES=5000`` kills more often than the default; ``LOCALRUN_CRASH_SEED`` repeats
the choices of a run, though not its instants.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from localrun.registry.transfer.journal import Journal
from localrun.registry.transfer.ranges import Ranges
from localrun.services.models import Models
from localrun.store.blobs import file_digest
from localrun.store.garbage import collect_garbage, referenced_digests
from localrun.store.refs import list_refs, ref_files
from localrun.store.store import Store
from tests.e2e.crashing import Order, Outcome
from tests.e2e.operations import OPERATIONS
from tests.fakes.hub import FakeHub, Fault, fake_hub
from tests.gguf.builder import STRING, header, pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localrun.store.layout import Layout

NUM_CRASHES = int(os.environ.get("LOCALRUN_CRASHES", "300"))  # half of them at random times
SEED = int(os.environ.get("LOCALRUN_CRASH_SEED", "0")) or random.randrange(1, 1 << 30)  # noqa: S311
CHECKED_EVERY = 20
LONGEST_RUN_S, LONGEST_GAP_S = 0.060, 0.010
MAX_STEPS = 150
WITHOUT_KILLS_S = 4.0
LARGE_BYTES = 6 << 20
STEPWISE = ("pull", "import", "cp", "mv", "create", "rm", "prune", "pack")
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
        for archive in self.store.layout.root.parent.glob("archive-*"):  # of those that were killed
            archive.unlink()
        assert outcome.failures == [], f"LOCALRUN_CRASH_SEED={SEED}\n{outcome.failures[0]}"
        return outcome

    def close(self) -> None:
        self._program.communicate()


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[FakeHub, Crew]]:
    with fake_hub() as hub, TemporaryDirectory(dir=_quick_disk()) as folder:
        for repo, files in _repositories().items():
            hub.add(f"crash/{repo}", files)
        crew = Crew(Path(folder), hub)
        try:
            yield hub, crew
        finally:
            crew.close()


@pytest.fixture
def hub(started: tuple[FakeHub, Crew]) -> FakeHub:
    started[0].faults.clear()
    return started[0]


@pytest.fixture
def crew(started: tuple[FakeHub, Crew], hub: FakeHub) -> Crew:  # noqa: ARG001 - without faults
    shutil.rmtree(started[1].store.layout.root, ignore_errors=True)
    return started[1]


@pytest.mark.timeout(60 + NUM_CRASHES)
def test_kills_at_any_instant_break_no_name_and_leak_nothing(crew: Crew, hub: FakeHub) -> None:
    hub.faults.append(Fault.drip(20_000_000, path="large", count=1 << 30))
    chance = random.Random(SEED)  # noqa: S311 - no secret
    begun, num_killed = set[str](), 0

    while num_killed < NUM_CRASHES / 2:
        outcome = crew.follow(_crash(chance))
        begun |= set(outcome.begun)
        num_killed += outcome.num_killed
        assert_readable(crew.store)
        if chance.randrange(CHECKED_EVERY) == 0:
            assert_whole(crew.store)

    assert begun == set(OPERATIONS)
    assert_a_sweep_leaves_nothing(crew.store)


@pytest.mark.timeout(60 + NUM_CRASHES)
@pytest.mark.parametrize("operation", STEPWISE)
def test_after_a_kill_at_any_step_the_same_command_works(operation: str, crew: Crew) -> None:
    chance = random.Random(f"{SEED} {operation}")  # noqa: S311 - no secret
    others = [name for name in ("pull", "import", "cp") if name != operation]
    crew.follow(Order(seeds=[SEED], operations=others, most=12))
    before = crew.store.layout.root.with_name(f"before {operation}")
    crew.store.layout.root.rename(before)
    whole, steps, num_killed = Order(seeds=[]), list[int](), 0

    while num_killed < NUM_CRASHES / 2 / len(STEPWISE):
        restore(crew.store, before)
        if not steps:
            whole = Order(seeds=[chance.randrange(1 << 30)], operations=[operation], most=1)
            num_steps = crew.follow(whole).num_steps
            steps = chance.sample(range(num_steps), num_steps)
            continue
        num_killed += crew.follow(replace(whole, step=steps.pop())).num_killed
        assert_readable(crew.store)
        if chance.random() < 0.5:  # else the same command finds what was left
            assert_a_sweep_leaves_nothing(crew.store)
        crew.follow(whole)
        assert_readable(crew.store)
        assert_a_sweep_leaves_nothing(crew.store)


def test_a_pull_goes_on_from_the_bytes_on_the_disk(crew: Crew, hub: FakeHub) -> None:
    hub.faults.append(Fault.drip(LARGE_BYTES // 8, path="large", count=1 << 30))
    chance = random.Random(SEED)  # noqa: S311 - no secret
    layout = crew.store.layout
    known = [0]

    while known[-1] < LARGE_BYTES * 0.7:
        run_s = chance.uniform(0.2, 0.5)
        crew.follow(Order(seeds=[1], operations=["pull large"], run_s=run_s))
        loaded = [Journal(folder).load() for folder in layout.partial.iterdir()]
        known.append(sum(found[1].ranges.total for found in loaded if found is not None))
        assert known == sorted(known)
    hub.faults.clear()
    hub.requests.clear()
    crew.follow(Order(seeds=[1], operations=["pull large"], most=1))

    asked = Ranges()  # a range may be asked for twice: its second half by an idle stream
    large = (request.range for request in hub.file_requests if "large-" in request.path)
    for first, last in filter(None, large):
        asked.add(first, LARGE_BYTES if last is None else last + 1)
    assert asked.total < LARGE_BYTES / 2
    assert_a_sweep_leaves_nothing(crew.store)


def test_processes_on_one_store_do_not_disturb_each_other(crew: Crew) -> None:
    seeds = list(range(SEED, SEED + 6))

    outcome = crew.follow(Order(seeds=seeds, ends_s=WITHOUT_KILLS_S))

    assert set(outcome.begun) == set(OPERATIONS)
    assert_a_sweep_leaves_nothing(crew.store)


def restore(store: Store, before: Path) -> None:
    """Make the store as it was; links, so that shared files stay shared."""
    shutil.rmtree(store.layout.root, ignore_errors=True)
    shutil.copytree(before, store.layout.root, copy_function=os.link)


def assert_readable(store: Store) -> None:
    """Check that every name can be read, and all of what it names is there."""
    refs = list_refs(store.layout)
    assert len(refs) == len(list(ref_files(store.layout)))
    assert [entry.ref for entry in store.entries()] == refs
    assert {ref.name for ref in refs} <= {model.name for model in Models(store).list_models()}
    for entry in store.entries():
        for blob in entry.manifest.blobs:
            assert store.blobs.path(blob.digest).stat().st_size == blob.size_bytes


def assert_whole(store: Store) -> None:
    """Check that every name can be read and every blob has the bytes that its name says."""
    assert_readable(store)
    for path in store.layout.blobs.glob("*"):
        assert HEX.fullmatch(path.name)
        assert file_digest(path) == f"sha256:{path.name}"


def assert_a_sweep_leaves_nothing(store: Store) -> None:
    """Check that a sweep has left what the names need and nothing else."""
    layout = store.layout
    collect_garbage(store, partial_kept_s=0)
    assert_whole(store)
    assert _names(layout.blobs) == {digest[7:] for digest in referenced_digests(store)}
    assert _names(layout.root / "links") <= _names(layout.blobs)
    assert [_names(folder) for folder in (layout.tmp, layout.leases, layout.partial)] == [set()] * 3
    assert _empty_folders(layout) == []


def _quick_disk() -> Path | None:
    """Return a folder in memory: a kill loses nothing of it either, and fsync takes no time."""
    memory = Path("/dev/shm")  # noqa: S108 - made safely by tempfile
    is_large = memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30
    return memory if is_large else None


def _crash(chance: random.Random) -> Order:
    """Return an order for one or two workers that die at a random time or step."""
    seeds = [chance.randrange(1 << 30) for _ in range(chance.choice([1, 2]))]
    if chance.random() < 0.5:
        return Order(seeds=seeds, step=chance.randrange(MAX_STEPS))
    gap_s = chance.choice([0, chance.uniform(0, LONGEST_GAP_S)])
    return Order(seeds=seeds, run_s=chance.uniform(0, LONGEST_RUN_S), gap_s=gap_s)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")}


def _empty_folders(layout: Layout) -> list[Path]:
    folders = [path for path in layout.refs.rglob("*") if path.is_dir()]
    return [folder for folder in folders if not any(folder.iterdir())]


def _gguf(seed: int, size_bytes: int) -> bytes:
    head = header([pair("general.architecture", STRING, "llama")])
    return head + random.Random(seed).randbytes(size_bytes)  # noqa: S311 - no secret


def _repositories() -> Mapping[str, dict[str, bytes]]:
    template, licence = b"{{ messages }}" * 100, b"Do what you like."
    return {
        "small": {"small-Q4_K_M.gguf": _gguf(1, 20_000), "chat_template.jinja": template},
        "large": {"large-Q4_K_M.gguf": _gguf(2, LARGE_BYTES), "LICENSE": licence},
        "split": {
            f"split-Q4_K_M-0000{number}-of-00002.gguf": _gguf(2 + number, 300_000)
            for number in (1, 2)
        }
        | {"chat_template.jinja": template},
        "plain": {"plain-Q4_K_M.gguf": _gguf(1, 20_000), "LICENSE": licence},
    }


def _files() -> Mapping[str, bytes]:
    """Return files to import: one of its own, and one with the bytes of a repository's."""
    return {"own.gguf": _gguf(5, 1 << 20), "same.gguf": _gguf(1, 20_000)}
