"""Records of an input file, by their places."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.batches import input_file
from localrun.batches.input_file import InputFile, InputFormat, spooled
from localrun.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


OPEN: list[InputFile] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def opened(path: Path, content: bytes | str, form: InputFormat | None = None) -> InputFile:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    OPEN.append(InputFile(path, form, name=path.name))
    return OPEN[-1]


def records(source: InputFile) -> list[dict[str, Any]]:
    return [source.fields(index) for index in range(len(source))]


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("a.txt", "one\ntwo\n", InputFormat.TEXT),
        ("a.txt", '"text"\n', InputFormat.TEXT),
        ("a.txt", "{broken\n", InputFormat.TEXT),
        ("a.jsonl", '\n{"text": "one"}\n', InputFormat.JSONL),
        ("a", '{"custom_id": "a", "body": {}}\n', InputFormat.OPENAI),
        ("a.csv", "text\none\n", InputFormat.CSV),
        ("a.TSV", "text\tb\none\ttwo\n", InputFormat.TSV),
    ],
)
def test_the_format_is_told_by_name_and_first_record(
    tmp_path: Path, name: str, content: str, form: InputFormat
) -> None:
    assert opened(tmp_path / name, content).format is form


def test_lines_of_text_are_records_and_empty_ones_are_not(tmp_path: Path) -> None:
    source = opened(tmp_path / "a", "\ufeffone \n\n  \ntwo\r\nthree")

    assert records(source) == [{"text": "one "}, {"text": "two"}, {"text": "three"}]


def test_a_table_has_names_quotes_and_line_ends(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.csv", 'id,text\n1,"a ""b"" c"\n2,"two\nlines, here"\n\n3,x\n')

    assert source.columns == ("id", "text")
    assert [each["text"] for each in records(source)] == ['a "b" c', "two\nlines, here", "x"]


@given(st.lists(st.lists(st.text(max_size=20), min_size=2, max_size=2), min_size=1, max_size=20))
def test_whatever_a_csv_writer_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    rows = [[cell.replace("\0", "").replace("\r", "") for cell in row] for row in rows]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["a", "b"], *rows])
    path = tmp_path_factory.mktemp("csv") / "a.csv"

    try:
        content = text.getvalue().encode()
    except UnicodeEncodeError:
        return
    assert records(opened(path, content)) == [{"a": a, "b": b} for a, b in rows]


def test_a_record_that_is_wrong_is_no_hindrance_to_the_others(tmp_path: Path) -> None:
    source = opened(tmp_path / "a", b'{"text": "one"}\n{"text": \n[]\n{"text": "\xff"}\n{"a": 1}\n')

    assert len(source) == 5
    assert source.fields(4) == {"a": 1}
    for index in (1, 2, 3):
        with pytest.raises(UsageError, match="line"):
            source.fields(index)


def test_a_row_with_another_number_of_fields_is_wrong(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.csv", "a,b\n1,2,3\n")

    with pytest.raises(UsageError, match="3 fields, not 2"):
        source.fields(0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", "", "no records"),
        ("a", "\n \n", "no records"),
        ("a.csv", "a,b\n", "no records"),
        ("a.csv", "a,a\n1,2\n", "same name"),
        ("a.csv", b"\xff,a\n1,2\n", "line of names"),
    ],
)
def test_a_file_without_records_is_refused(
    tmp_path: Path, name: str, content: bytes | str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        opened(tmp_path / name, content)


def test_a_record_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_file, "MAX_RECORD_BYTES", 100)

    for name, content in (("a", "x" * 200), ("a.csv", 'a\n"' + "x\n" * 200)):
        with pytest.raises(UsageError, match="more than 100 bytes"):
            opened(tmp_path / name, content)


def test_tables_of_others_keep_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = csv.field_size_limit()
    monkeypatch.setattr(input_file, "MAX_RECORD_BYTES", 50)

    opened(tmp_path / "a.csv", "text\na\n")

    assert csv.field_size_limit() == limit


def test_the_number_of_records_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_file, "MAX_RECORDS", 3)

    with pytest.raises(UsageError, match="more than 3 records"):
        opened(tmp_path / "a", "a\nb\nc\nd\n")


def test_other_bytes_have_another_digest(tmp_path: Path) -> None:
    digests = {opened(tmp_path / "a", text).digest for text in ("a\nb", "a\nc", "a\nb\n")}

    assert len(digests) == 3
    assert opened(tmp_path / "b", "a\nb").digest in digests


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"in\.jsonl cannot be read"):
        InputFile(tmp_path / "nothing", None, name="in.jsonl")


def test_a_pipe_is_kept_in_a_file(tmp_path: Path) -> None:
    path = spooled(io.BytesIO(b"one\ntwo\n"), tmp_path)

    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        ('a,5" disk\nb,6" disk\n', ['5" disk', '6" disk']),
        ('a"x,1\n"b\n""c",2\n', ["1", "2"]),
        ('a,x "and\nb,y\n', ['x "and', "y"]),
        ('"a","one\ntwo"\nb,""\n', ["one\ntwo", ""]),
    ],
)
def test_a_quote_within_a_field_joins_no_rows(tmp_path: Path, rows: str, texts: list[str]) -> None:
    source = opened(tmp_path / "a.csv", "name,text\n" + rows)

    assert [fields["text"] for fields in records(source)] == texts


def test_a_row_with_a_lone_carriage_return_is_an_error_and_no_loss(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.csv", "name,text\na,b\rc,d\ne,f\n")

    assert len(source) == 2
    with pytest.raises(UsageError, match="cannot be read"):
        source.fields(0)
    assert source.fields(1) == {"name": "e", "text": "f"}


def test_a_quote_that_is_not_closed_is_one_bounded_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = 'text\n"open\n' + "line\n" * 20
    source = opened(tmp_path / "a.csv", content)
    assert len(source) == 1
    with pytest.raises(UsageError, match="cannot be read"):
        source.fields(0)
    monkeypatch.setattr(input_file, "MAX_RECORD_BYTES", 50)

    with pytest.raises(UsageError, match="more than 50 bytes"):
        opened(tmp_path / "b.csv", content)
