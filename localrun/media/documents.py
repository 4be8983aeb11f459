"""Documents: a PDF file to the texts of its pages, and to images of those without text.

PDFium is not thread-safe, so one document is open at a time in the process.
"""

from __future__ import annotations

import contextlib
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.media.deadline import Deadline
from localrun.media.images import Pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_PAGES = 500
MAX_CHARACTERS = 4 * 1024 * 1024  # of all pages
MAX_PAGE_IMAGES = 32
DPI, POINTS_PER_INCH = 150, 72
MAX_SIDE = 3000  # pixels of a page's image
WHITE = (255, 255, 255, 255)
# held while a document is open; only what ``is_known`` of `read_pdf` takes is taken inside
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a page; ``pixels`` are there if it has none and its image is wanted."""

    number: int  # from 1
    text: str
    pixels: Pixels | None = None


def read_pdf(
    data: bytes, name: str, *, renders: bool, is_known: Callable[[int], bool] = lambda _: False
) -> list[Page]:
    """Return the pages of a PDF; blocks. ``renders``: pages without text become images.

    ``is_known`` returns whether the image of the page with a number is wanted no more.

    Raises:
        UsageError: the file is damaged, encrypted, too large or too slow, or no page has text or
            image; the error begins with ``name``.
    """
    import pypdfium2

    deadline = Deadline(name)
    try:
        with _opened(data, deadline) as document:
            return _pages(document, name, deadline, is_known, renders=renders)
    except pypdfium2.PdfiumError as error:
        raise UsageError(f"{name} is a damaged or encrypted PDF: {error}", param=name) from error


@contextlib.contextmanager
def _opened(data: bytes, deadline: Deadline) -> Iterator[object]:
    """Open a document once no other one is open.

    Raises:
        UsageError: the others took too long.
    """
    import pypdfium2

    if not _one_at_a_time.acquire(timeout=deadline.remaining_s):
        raise deadline.error()
    try:
        with pypdfium2.PdfDocument(data) as document:
            yield document
    finally:
        _one_at_a_time.release()


def _pages(
    document: object,
    name: str,
    deadline: Deadline,
    is_known: Callable[[int], bool],
    *,
    renders: bool,
) -> list[Page]:
    num_pages = len(document)  # type: ignore[arg-type]  # the library has no types
    if num_pages > MAX_PAGES:
        raise UsageError(
            f"{name} has {num_pages} pages, a document at most {MAX_PAGES}", param=name
        )
    pages: list[Page] = []
    num_characters = num_images = 0
    for index in range(num_pages):
        deadline.check()
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
        is_wanted = has_image and not is_known(index + 1)
        pages.append(Page(index + 1, text, _pixels_of(page, deadline) if is_wanted else None))
    if not num_characters and not num_images:
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


def _pixels_of(page: object, deadline: Deadline) -> Pixels:
    """Return the image of a page; PDFium asks between its parts whether to go on.

    Raises:
        UsageError: the page takes too long.
    """
    import pypdfium2.raw as pdfium
    from pypdfium2 import PdfBitmap

    width, height = page.get_size()  # type: ignore[attr-defined]
    scale = min(DPI / POINTS_PER_INCH, MAX_SIDE / max(width, height, 1.0))
    size = max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))
    bitmap = PdfBitmap.new_native(*size, pdfium.FPDFBitmap_BGR)
    bitmap.fill_rect(WHITE, 0, 0, *size)
    ask = type(pdfium.IFSDK_PAUSE().NeedToPauseNow)(lambda _: deadline.remaining_s == 0)
    pause = pdfium.IFSDK_PAUSE(version=1, NeedToPauseNow=ask)
    flags = pdfium.FPDF_ANNOT
    try:
        status = pdfium.FPDF_RenderPageBitmap_Start(bitmap, page, 0, 0, *size, 0, flags, pause)
    finally:
        pdfium.FPDF_RenderPage_Close(page)
    if status == pdfium.FPDF_RENDER_TOBECONTINUED:
        raise deadline.error()
    image = bitmap.to_pil().convert("RGB")
    return Pixels(image.width, image.height, image.tobytes())
