"""Tar streams: every shape that real writers make, nothing that leaves a folder."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING, BinaryIO, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import IntegrityError, StorageError
from localrun.store.tar import CutShortError, read_members, write_end, write_member

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
LONG = "folder/" * 40 + "模型.gguf"


def archive_of(infos: Sequence[tarfile.TarInfo], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return an archive whose file members hold ``x`` as often as their size says."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return out.getvalue()


def member(name: str, size: int = 3, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info


def ours(files: Sequence[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    written = sum(write_member(out, name, len(content), [content]) for name, content in files)
    written += write_end(out)
    assert written == len(out.getvalue())
    return out.getvalue()


def read_all(source: BinaryIO | bytes) -> list[tuple[str, bytes]]:
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    return [(found.name, b"".join(found.chunks)) for found in read_members(stream)]


class Dripping(io.RawIOBase):
    """A source that gives a few bytes at a time and cannot seek."""

    def __init__(self, content: bytes, most: int) -> None:
        self._left = io.BytesIO(content)
        self._most = most

    def read(self, size: int = -1) -> bytes:
        assert size >= 0
        return self._left.read(min(size, self._most))


files = st.lists(st.tuples(st.sampled_from(["a", "b/c", "d" * 90]), st.binary(max_size=1500)))


@given(files, st.integers(1, 700))
def test_what_was_written_is_read_from_any_pipe(files: list[tuple[str, bytes]], most: int) -> None:
    assert read_all(Dripping(ours(files), most)) == files  # type: ignore[arg-type]


@given(files)
def test_what_was_written_is_what_tarfile_reads(files: list[tuple[str, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(ours(files))) as archive:
        infos = archive.getmembers()
        read = [(info.name, (archive.extractfile(info) or io.BytesIO()).read()) for info in infos]

    assert read == files
    assert all((info.mode, info.mtime, info.uid) == (0o444, 0, 0) for info in infos)


@given(files, st.integers(0, 699))
def test_what_is_not_read_of_a_member_is_skipped(files: list[tuple[str, bytes]], most: int) -> None:
    names = []
    for found in read_members(io.BytesIO(ours(files))):
        names.append(found.name)
        if most % 2:
            next(found.chunks, None)

    assert names == [name for name, _ in files]


@pytest.mark.parametrize("form", FORMATS)
def test_archives_of_other_writers_are_read(form: int) -> None:
    infos = [member("./", 0, tarfile.DIRTYPE), member("a/", 0, tarfile.DIRTYPE), member("./a/b")]
    if form != tarfile.USTAR_FORMAT:
        infos.append(member(LONG, 700))

    read = read_all(archive_of(infos, form))

    expected = [("a/b", b"xxx"), (LONG, b"x" * 700)]
    assert read == expected[: len(infos) - 2]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_size_of_more_than_eight_gigabytes_is_read(form: Literal[1, 2]) -> None:
    header = member("big", 9 << 30).tobuf(form)

    found = next(read_members(io.BytesIO(header + b"x")))

    assert found.size_bytes == 9 << 30


def test_a_huge_member_is_written_with_its_size() -> None:
    out = io.BytesIO()
    write_member(out, "big", 9 << 30, [])

    assert next(read_members(io.BytesIO(out.getvalue()))).size_bytes == 9 << 30


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a/..", "a\\..\\x"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_a_name_that_leaves_its_folder_is_refused(name: str, form: int, kind: bytes) -> None:
    size = 3 if kind == tarfile.REGTYPE else 0

    with pytest.raises(IntegrityError, match="leaves its folder"):
        read_all(archive_of([member(name, size, kind)], form))


def test_a_long_name_that_leaves_its_folder_is_refused() -> None:
    for form in FORMATS[1:]:
        with pytest.raises(IntegrityError, match="leaves its folder"):
            read_all(archive_of([member("a/" * 100 + "../x")], form))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
        b"Z",
    ],
)
def test_what_is_no_regular_file_is_refused(kind: bytes) -> None:
    with pytest.raises(IntegrityError, match="no regular file"):
        read_all(member("a", 0, kind).tobuf(tarfile.GNU_FORMAT) + bytes(1024))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_gigabytes_is_refused_before_it_is_read(kind: bytes) -> None:
    source = io.BytesIO(member("a", 4 << 30, kind).tobuf() + bytes(1 << 20))

    with pytest.raises(IntegrityError, match="a header of"):
        read_all(source)

    assert source.tell() == 512


@pytest.mark.parametrize(
    "fields",
    [
        b"12 path=x\n",
        b"0 path=x\n",
        b"path=x\n",
        b"99999999999 path=x\n",
        b"8 path=x",
        b"7 pathx\n",
        b"20 size=-1000000000\n",
        b"12 size=1e99\n",
        b"31 size=999999999999999999999\n",
        b"26 size=9999999999999999\n",
    ],
)
def test_a_damaged_extended_header_is_refused(fields: bytes) -> None:
    header = member("x", len(fields), tarfile.XHDTYPE).tobuf()
    content = fields.ljust(512, b"\0")

    with pytest.raises(IntegrityError):
        read_all(header + content + archive_of([member("a")]))


def test_a_negative_size_is_refused() -> None:
    header = bytearray(member("a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 12
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)

    with pytest.raises(IntegrityError, match="a file of -1 bytes"):
        read_all(bytes(header) + bytes(2048))


@given(st.binary(min_size=1, max_size=3000))
def test_any_bytes_are_refused_or_read_to_an_end(content: bytes) -> None:
    try:
        read_all(content)
    except IntegrityError:
        return

    assert not any(content)


@given(files, st.floats(0, 1, exclude_max=True))
def test_an_archive_that_is_cut_anywhere_says_so(
    files: list[tuple[str, bytes]], where: float
) -> None:
    whole = ours(files)

    with pytest.raises(CutShortError):
        read_all(whole[: int(where * len(whole))])


@given(files, st.data())
def test_a_flipped_bit_is_refused_or_changes_one_file(
    files: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    whole = bytearray(ours([("first", b"x"), *files]))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    try:
        read = read_all(bytes(whole))
    except IntegrityError:
        return

    assert len(read) <= len(files) + 1


def test_every_byte_is_told_and_the_writer_can_finish() -> None:
    whole = archive_of([member("a", 5000)])
    counts: list[int] = []
    source = io.BytesIO(whole)

    for found in read_members(source, counts.append):
        assert found.name == "a"

    assert sum(counts) == len(whole) == source.tell()


def test_a_source_that_cannot_be_read_is_no_fault_of_the_store() -> None:
    class Broken(io.RawIOBase):
        def read(self, _: int = -1) -> bytes:
            raise OSError(5, os.strerror(5))

    with pytest.raises(StorageError, match="cannot read the archive"):
        read_all(Broken())  # type: ignore[arg-type]
