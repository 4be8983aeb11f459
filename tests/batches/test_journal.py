"""The journal: whenever a batch is killed, each record has one line or is not done."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.batches import journal as module
from localrun.batches.journal import BatchJournal, OutputFile, journal_of
from localrun.errors import OverloadedError, StorageError, UsageError
from tests.fakes.full_disk import size_limit

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 12


def line(index: int) -> bytes:
    return f"line {index} é\n".encode()


def begun(output: Path, *, is_ordered: bool = True, fingerprint: str = "f") -> BatchJournal:
    return BatchJournal.create(
        journal_of(output),
        OutputFile(output),
        fingerprint=fingerprint,
        is_ordered=is_ordered,
        head=b"head\n",
    )


def resumed(
    output: Path, *, is_ordered: bool = True, fingerprint: str = "f"
) -> BatchJournal | None:
    return BatchJournal.reopen(
        journal_of(output), OutputFile(output), fingerprint=fingerprint, is_ordered=is_ordered
    )


def expected(order: list[int], *, is_ordered: bool) -> bytes:
    return b"head\n" + b"".join(map(line, sorted(order) if is_ordered else order))


@given(st.permutations(range(COUNT)))
def test_lines_are_in_the_order_of_the_input(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    output = tmp_path_factory.mktemp("out") / "a"
    journal = begun(output)
    for index in order:
        journal.add(index, line(index))

    journal.remove()

    assert output.read_bytes() == expected(order, is_ordered=True)
    assert [path.name for path in output.parent.iterdir()] == ["a"]


@given(
    st.permutations(range(COUNT)),
    st.integers(0, COUNT),
    st.booleans(),
    st.integers(0, 40),
    st.integers(0, 60),
)
def test_a_batch_that_was_killed_goes_on_with_no_line_twice_and_none_lost(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    num_before: int,
    is_ordered: bool,  # noqa: FBT001 - of hypothesis
    output_tail: int,
    journal_tail: int,
) -> None:
    """The last bytes of both files may be missing, or be those of a write that was cut."""
    folder = tmp_path_factory.mktemp("out")
    output = folder / "a"
    journal = begun(output, is_ordered=is_ordered)
    for index in order[:num_before]:
        journal.add(index, line(index))
    journal.close()
    path = journal_of(output)
    os.truncate(path, max(0, path.stat().st_size - journal_tail))
    with output.open("ab") as file:
        file.write(b"x" * output_tail)

    again = resumed(output, is_ordered=is_ordered)
    if again is None:
        again = begun(output, is_ordered=is_ordered)
    left = [index for index in range(COUNT) if not again.is_done(index)]
    for index in reversed(left):
        again.add(index, line(index))
    again.remove()

    lines = output.read_bytes().splitlines(keepends=True)
    assert lines[:1] == [b"head\n"]
    assert sorted(lines[1:]) == sorted(map(line, range(COUNT)))
    if is_ordered:
        assert lines[1:] == list(map(line, range(COUNT)))
    shutil.rmtree(folder)


def test_an_output_that_lost_its_end_is_taken_back_to_what_it_has(tmp_path: Path) -> None:
    output = tmp_path / "a"
    journal = begun(output)
    for index in range(5):
        journal.add(index, line(index))
    journal.close()
    os.truncate(output, output.stat().st_size - 3)  # after a power loss

    again = resumed(output)

    assert again is not None
    assert [again.is_done(index) for index in range(5)] == [True] * 4 + [False]
    assert output.read_bytes() == expected([0, 1, 2, 3], is_ordered=True)
    again.close()


def test_another_fingerprint_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    output = tmp_path / "a"
    journal = begun(output)
    journal.add(0, line(0))
    journal.close()
    before = output.read_bytes(), journal_of(output).read_bytes()

    with pytest.raises(UsageError, match="other options") as caught:
        resumed(output, fingerprint="g")

    assert "--no-resume" in (caught.value.hint or "")
    assert (output.read_bytes(), journal_of(output).read_bytes()) == before


def test_two_processes_do_not_write_one_output(tmp_path: Path) -> None:
    output = tmp_path / "a"
    journal = begun(output)

    with pytest.raises(OverloadedError, match="another process"):
        resumed(output)

    journal.close()


def test_a_journal_of_nothing_is_begun_anew(tmp_path: Path) -> None:
    output = tmp_path / "a"
    output.touch()
    journal_of(output).write_bytes(b'{"format_ver')

    assert resumed(output) is None


def test_a_full_disk_loses_no_line_that_was_kept(tmp_path: Path) -> None:
    output, num_kept = tmp_path / "a", 0
    journal = begun(output)
    with size_limit(50_000), contextlib.suppress(StorageError):
        while True:
            journal.add(num_kept, b"x" * 1000 + b"\n")
            num_kept += 1
    journal.close()

    again = resumed(output)

    assert again is not None
    assert [again.is_done(index) for index in (num_kept - 1, num_kept)] == [True, False]
    assert output.read_bytes() == b"head\n" + (b"x" * 1000 + b"\n") * num_kept
    again.close()


@pytest.mark.parametrize("is_ordered", [True, False])
def test_records_that_failed_are_counted_across_interruptions(
    tmp_path: Path, *, is_ordered: bool
) -> None:
    output = tmp_path / "a"
    journal = begun(output, is_ordered=is_ordered)
    for index in (2, 0, 1):
        journal.add(index, line(index), is_failed=index != 0)
    journal.close()

    again = resumed(output, is_ordered=is_ordered)

    assert again is not None
    again.add(3, line(3), is_failed=True)
    assert (again.num_done, again.num_failed) == (4, 3)
    again.close()


def test_lines_that_waited_are_written_in_bounded_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, sizes = tmp_path / "a", list[int]()
    monkeypatch.setattr(module, "APPENDED_BYTES", 3 * len(line(1)) - 1)
    journal = begun(output)
    append = OutputFile.append

    def counted(self: OutputFile, content: bytes) -> int:
        sizes.append(content.count(b"\n"))
        return append(self, content)

    monkeypatch.setattr(OutputFile, "append", counted)
    for index in range(1, 10):
        journal.add(index, line(index))

    journal.add(0, line(0))
    journal.remove()

    assert max(sizes) == 3
    assert output.read_bytes() == expected(list(range(10)), is_ordered=True)


def test_a_batch_killed_between_two_pieces_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "a"
    monkeypatch.setattr(module, "APPENDED_BYTES", 0)
    journal = begun(output)
    for index in range(1, 6):
        journal.add(index, line(index))
    with monkeypatch.context() as patch:
        append = OutputFile.append

        def killed(self: OutputFile, content: bytes) -> int:
            if content == line(3):
                raise KeyboardInterrupt
            return append(self, content)

        patch.setattr(OutputFile, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            journal.add(0, line(0))
    journal.close()

    again = resumed(output)

    assert again is not None
    assert [again.is_done(index) for index in range(8)] == [True] * 6 + [False] * 2
    again.add(6, line(6))
    again.remove()
    assert output.read_bytes() == expected(list(range(7)), is_ordered=True)


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "a"
    output.write_bytes(b"kept\n")
    journal_of(output).write_bytes(b'{"format_version": 99, "fingerprint": "f", "end": 0}\n')

    with pytest.raises(UsageError):
        resumed(output)

    assert output.read_bytes() == b"kept\n"
