"""PDF files become the text of their pages, and images where there is none."""

from __future__ import annotations

import ctypes
import io
import random

import pypdfium2
import pypdfium2.raw as pdfium
import pytest

from localrun.errors import UsageError
from localrun.media import documents
from localrun.media.documents import read_pdf

NUM_MUTATIONS = 200


def pdf(*texts: str) -> bytes:
    """Return a document with a page for each text; an empty text is a blank page."""
    document = pypdfium2.PdfDocument.new()
    font = pdfium.FPDFText_LoadStandardFont(document, b"Helvetica")
    for text in texts:
        page = document.new_page(300, 200)
        if text:
            units = text.encode("utf-16-le") + b"\0\0"
            written = pdfium.FPDFPageObj_CreateTextObj(document, font, ctypes.c_float(20))
            kind = ctypes.c_ushort * (len(units) // 2)
            pdfium.FPDFText_SetText(written, kind.from_buffer_copy(units))
            pdfium.FPDFPageObj_Transform(written, 1, 0, 0, 1, 20, 100)
            pdfium.FPDFPage_InsertObject(page, written)
            pdfium.FPDFPage_GenerateContent(page)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def test_pages_have_their_text() -> None:
    pages = read_pdf(pdf("Hello there", "Page two"), "x", renders=True)

    assert [(page.number, page.text, page.pixels) for page in pages] == [
        (1, "Hello there", None),
        (2, "Page two", None),
    ]


def test_a_page_without_text_is_an_image_for_a_model_that_sees() -> None:
    first, second = read_pdf(pdf("Hello", ""), "x", renders=True)

    assert first.pixels is None
    assert second.pixels is not None
    assert len(second.pixels.data) == second.pixels.width * second.pixels.height * 3


def test_a_document_of_images_is_refused_by_a_model_that_reads_text_only() -> None:
    with pytest.raises(UsageError, match="x has no text"):
        read_pdf(pdf(""), "x", renders=False)


def test_limits_are_errors_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_PAGES", 2)

    with pytest.raises(UsageError, match="x has 3 pages, a document at most 2"):
        read_pdf(pdf("a", "b", "c"), "x", renders=False)


def test_mutated_files_end_in_pages_or_in_an_error() -> None:
    whole, rng = pdf("Hello there"), random.Random(1)  # noqa: S311 - repeatable
    num_refused = 0
    for _ in range(NUM_MUTATIONS):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            read_pdf(bytes(data[: rng.randint(1, len(data))]), "x", renders=True)
        except UsageError:
            num_refused += 1

    assert num_refused > 0
