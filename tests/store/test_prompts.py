"""Saved prompts: what comes back is what was written, or nothing."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.store.prompts import (
    KEY_BYTES,
    SEGMENT_TOKENS,
    PromptFolder,
    remove_saved,
    saved_bytes,
)
from tests.fakes.full_disk import size_limit

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.prompt_file import PromptSegment

MODEL = "0" * 32
TOKENS = list(range(3 * SEGMENT_TOKENS))
DATA = bytes(range(256)) * 40


def opened(root: Path, model: str = MODEL, budget: int = 10**9) -> PromptFolder:
    return PromptFolder(root, model, budget)


def save(folder: PromptFolder, tokens: list[int], data: bytes = DATA) -> None:
    """Save all runs of a prompt, the last one as long as it is."""
    for start in range(0, len(tokens), SEGMENT_TOKENS):
        folder.write(tokens[: start + SEGMENT_TOKENS], start, data)


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.prompt"))


def spans(runs: list[PromptSegment]) -> list[tuple[int, int]]:
    return [(run.start, run.end) for run in runs]


def test_what_was_saved_is_found_by_another_process(tmp_path: Path) -> None:
    save(opened(tmp_path), TOKENS[:600])

    folder = opened(tmp_path)
    runs = folder.find(TOKENS, 0)

    assert spans(runs) == [(0, 256), (256, 512), (512, 600)]
    assert [folder.read(run) for run in runs] == [DATA] * 3
    assert spans(folder.find(TOKENS, 300)) == [(256, 512), (512, 600)]
    assert folder.find([1, *TOKENS], 0) == []


def test_prompts_that_fork_keep_their_common_runs_once(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    save(folder, TOKENS[:400])
    save(folder, [*TOKENS[:300], *range(5000, 5100)])

    assert len(files(tmp_path)) == 3
    assert folder.find([*TOKENS[:300], 5000, 5001], 0)[-1].tokens[44:46] == [5000, 5001]
    assert spans(folder.find([*TOKENS[:280], 9], 0)) == [(0, 256), (256, 400)]


def test_a_longer_run_replaces_the_one_that_it_goes_on_from(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    save(folder, TOKENS[:50])
    save(folder, TOKENS[:90])

    assert spans(folder.find(TOKENS, 0)) == [(0, 90)]
    assert len(files(tmp_path)) == 1


def test_only_the_owner_can_read_what_people_said(tmp_path: Path) -> None:
    root = tmp_path / "prompts"
    before = os.umask(0)
    try:
        save(opened(root), TOKENS[:50])
    finally:
        os.umask(before)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root, root / MODEL)} == {0o700}


@pytest.mark.parametrize("place", ["head", "tokens", "data", "end"])
def test_a_flipped_bit_anywhere_is_found_and_the_file_removed(tmp_path: Path, place: str) -> None:
    save(opened(tmp_path), TOKENS[:50])
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[{"head": 9, "tokens": 100, "data": -len(DATA), "end": -1}[place]] ^= 4
    path.write_bytes(content)

    folder = opened(tmp_path)

    assert [folder.read(run) for run in folder.find(TOKENS, 0)] in ([], [None])
    assert files(tmp_path) == []
    assert folder.find(TOKENS, 0) == []


@given(length=st.integers(0, len(DATA) + 300))
def test_a_torn_file_is_never_given_out(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    root = tmp_path_factory.mktemp("torn")
    save(opened(root), TOKENS[:50])
    (path,) = files(root)
    content = path.read_bytes()
    torn = content[: min(length, len(content) - 1)]
    path.write_bytes(torn)

    folder = opened(root)

    assert folder.find(TOKENS, 0) == []
    assert files(root) == []


def test_files_of_others_and_of_other_models_are_refused(tmp_path: Path) -> None:
    save(opened(tmp_path / "theirs"), TOKENS[:50])
    save(opened(tmp_path / "ours", "1" * 32), TOKENS[:50])
    mine = opened(tmp_path / "ours")
    for number, path in enumerate(files(tmp_path)):
        path.rename(tmp_path / "ours" / MODEL / f"{number}.prompt")

    assert opened(tmp_path / "ours").find(TOKENS, 0) == []
    assert mine.find(TOKENS, 0) == []
    assert files(tmp_path) == []


def test_a_file_that_changes_after_the_start_is_not_given_out(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    save(folder, TOKENS[:50])
    (run,) = folder.find(TOKENS, 0)
    run.path.write_bytes(run.path.read_bytes()[:-1] + b"x")

    assert folder.read(run) is None
    assert not run.path.exists()


def test_the_longest_unused_makes_room_and_the_bound_holds(tmp_path: Path) -> None:
    budget = 10 * len(DATA)
    folder = opened(tmp_path, budget=budget)
    for number in range(30):
        folder.write([number, *TOKENS[:50]], 0, DATA)
        for age, path in enumerate(sorted(files(tmp_path), key=lambda path: path.stat().st_mtime)):
            os.utime(path, (1000 + age, 1000 + age))
        assert saved_bytes(tmp_path) <= budget
        if number >= 1:
            for run in folder.find([1, *TOKENS], 0):
                assert folder.read(run) == DATA  # and is used with that

    assert spans(folder.find([1, *TOKENS], 0)) == [(0, 51)]
    assert folder.find([2, *TOKENS], 0) == []
    assert len(files(tmp_path)) >= 5


def test_the_budget_is_for_all_models_together(tmp_path: Path) -> None:
    first, second = opened(tmp_path, "1" * 32, 40_000), opened(tmp_path, "2" * 32, 40_000)
    for number in range(6):
        first.write([number, 1, 2], 0, DATA)
        second.write([number, 1, 2], 0, DATA)

    assert saved_bytes(tmp_path) <= 40_000


def test_what_is_larger_than_the_budget_is_not_kept(tmp_path: Path) -> None:
    folder = opened(tmp_path, budget=len(DATA))
    save(folder, TOKENS[:50])

    assert files(tmp_path) == []


def test_a_crash_in_the_middle_of_writing_leaves_nothing_to_load(tmp_path: Path) -> None:
    save(opened(tmp_path), TOKENS[:50])
    (path,) = files(tmp_path)
    temporary = path.with_name(f"{path.stem}.tmp-{os.getpid()}")
    path.rename(temporary)

    assert opened(tmp_path).find(TOKENS, 0) == []
    assert saved_bytes(tmp_path) == temporary.stat().st_size
    long_ago = time.time() - 10_000
    os.utime(temporary, (long_ago, long_ago))
    opened(tmp_path)
    assert not temporary.exists()


def test_what_a_process_that_ended_was_writing_goes_with_the_next_look(tmp_path: Path) -> None:
    save(opened(tmp_path), TOKENS[:50])
    child = subprocess.Popen(["true"])
    child.wait()
    names = (f"key.tmp-{child.pid}", f"{'0' * 32}/{'1' * 40}.tmp-{child.pid}")
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    living = tmp_path / f"key.tmp-{os.getpid()}"
    living.write_bytes(b"half")

    remove_saved(tmp_path)

    assert [(tmp_path / name).exists() for name in names] == [False, False]
    assert living.exists()


@pytest.mark.parametrize("limit", [0, 1, KEY_BYTES - 1, KEY_BYTES, 100, len(DATA), len(DATA) + 1])
def test_a_full_disk_saves_nothing_and_the_next_prompt_is_saved(limit: int, tmp_path: Path) -> None:
    with size_limit(limit), contextlib.suppress(OSError):
        save(opened(tmp_path), TOKENS[:50])

    assert opened(tmp_path).find(TOKENS, 0) == []
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"key"}
    save(opened(tmp_path), TOKENS[:50])
    assert spans(opened(tmp_path).find(TOKENS, 0)) == [(0, 50)]


def test_all_can_be_removed_while_a_process_uses_it(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    save(folder, TOKENS[:300])
    (run, _) = folder.find(TOKENS, 0)

    freed = remove_saved(tmp_path)

    assert freed > 2 * len(DATA)
    assert saved_bytes(tmp_path) == 0
    assert folder.read(run) is None
    save(folder, TOKENS[:300])
    assert spans(opened(tmp_path).find(TOKENS, 0)) == [(0, 256), (256, 300)]


def test_a_whole_state_is_found_where_all_its_tokens_match(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    folder.write(TOKENS[:400], 0, DATA)
    folder.write([7, 8, 9], 0, DATA)

    assert spans(folder.find_whole(TOKENS)) == [(0, 400)]
    assert folder.find_whole(TOKENS[:399]) == []
