"""Documents: a PDF file to the texts of its pages, and to images of those without text.

PDFium is not thread-safe, so one document is open at a time in the process.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from localrun.errors import UsageError
from localrun.media.images import Pixels

MAX_PAGES = 500
MAX_CHARACTERS = 4 * 1024 * 1024  # of all pages
MAX_PAGE_IMAGES = 32
DPI, POINTS_PER_INCH = 150, 72
MAX_SIDE = 3000  # pixels of a page's image
_one_at_a_time = threading.Lock()  # held while a document is open; no other lock is taken inside


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a page; ``pixels`` are there if it has none and images are wanted."""

    number: int  # from 1
    text: str
    pixels: Pixels | None = None


def read_pdf(data: bytes, name: str, *, renders: bool) -> list[Page]:
    """Return the pages of a PDF; blocks. ``renders``: pages without text become images.

    Raises:
        UsageError: the file is damaged, encrypted or too large, or no page has text or image; the
            error begins with ``name``.
    """
    import pypdfium2

    try:
        with _one_at_a_time, pypdfium2.PdfDocument(data) as document:
            return _pages(document, name, renders=renders)
    except pypdfium2.PdfiumError as error:
        raise UsageError(f"{name} is a damaged or encrypted PDF: {error}", param=name) from error


def _pages(document: object, name: str, *, renders: bool) -> list[Page]:
    num_pages = len(document)  # type: ignore[arg-type]  # the library has no types
    if num_pages > MAX_PAGES:
        raise UsageError(
            f"{name} has {num_pages} pages, a document at most {MAX_PAGES}", param=name
        )
    pages: list[Page] = []
    num_characters = num_images = 0
    for index in range(num_pages):
        page = document[index]  # type: ignore[index]
        text = _text_of(page)
        num_characters += len(text)
        if num_characters > MAX_CHARACTERS:
            raise UsageError(f"{name} has more than {MAX_CHARACTERS} characters", param=name)
        has_image = renders and not text
        num_images += has_image
        if num_images > MAX_PAGE_IMAGES:
            raise UsageError(
                f"{name} has more than {MAX_PAGE_IMAGES} pages without text", param=name
            )
        pages.append(Page(index + 1, text, _pixels_of(page) if has_image else None))
    if not any(page.text or page.pixels for page in pages):
        raise UsageError(
            f"{name} has no text: its pages are images, which the model does not see",
            hint="use a model with the capability vision",
            param=name,
        )
    return pages


def _text_of(page: object) -> str:
    text_page = page.get_textpage()  # type: ignore[attr-defined]
    try:
        return str(text_page.get_text_bounded()).replace("\r\n", "\n").strip()
    finally:
        text_page.close()


def _pixels_of(page: object) -> Pixels:
    width, height = page.get_size()  # type: ignore[attr-defined]
    scale = min(DPI / POINTS_PER_INCH, MAX_SIDE / max(width, height, 1.0))
    image = page.render(scale=scale).to_pil().convert("RGB")  # type: ignore[attr-defined]
    return Pixels(image.width, image.height, image.tobytes())
