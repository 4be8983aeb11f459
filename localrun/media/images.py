"""Images: bytes of a file to pixels, within limits that are read from the header first.

Pillow decodes, with the decoder of the format that the first bytes name and no other. The result is
what a person sees: rotated as the camera says, transparency on white, 16 bits scaled to 8.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.media.deadline import Deadline, TimedBytes
from localrun.media.kinds import kind_of, unread_format

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 50_000_000
MAX_JPEG_PIXELS = 250_000_000  # decoded at a fraction of its size, unless it has several scans
SCAN = b"\xff\xda"  # marker of a scan's header
MAX_SEGMENTS = 1000  # before the first scan: phones write some dozens
DRAFT_SIDE = 2048  # no side of a JPEG is decoded to less
LOW_DETAIL_SIDE = 512  # OpenAI's
FORMATS = ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "AVIF")
DECODERS = {"JPEG": ("JPEG", "MPO")}  # phones write several images into one JPEG
CONVERSIONS = {  # of formats that are not read, the command that converts them
    "HEIC": "convert it: heif-convert photo.heic photo.jpg, on macOS sips -s format jpeg photo.heic"
    " --out photo.jpg",
    "SVG": "convert it: rsvg-convert drawing.svg -o drawing.png",
}
WHITE = (255, 255, 255, 255)
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")
BITS_TO_DROP = 1 / 256


@dataclass(frozen=True, slots=True)
class Pixels:
    """RGB bytes of an image, row by row."""

    width: int
    height: int
    data: bytes


def decode_image(data: bytes, name: str, *, is_low_detail: bool = False) -> Pixels:
    """Return the pixels of an image file; blocks, without the GIL for most of the time.

    Raises:
        UsageError: the bytes are no image of `FORMATS`, are damaged, exceed the limits or take too
            long; the error begins with ``name``.
    """
    kind = kind_of(data)
    if kind is None or kind.kind != "image":
        raise UsageError(
            f"{name} is {_other(data)}; images are {', '.join(FORMATS)}",
            hint=CONVERSIONS.get(unread_format(data) or ""),
            param=name,
        )
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the limits below are lower
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata
            with Image.open(
                TimedBytes(data, Deadline(name)), formats=DECODERS.get(kind.format, (kind.format,))
            ) as image:
                _check_size(image, data, name)
                return _pixels(image, is_low_detail=is_low_detail)
    except UsageError:
        raise
    except UnidentifiedImageError as error:  # its text names an object of ours
        raise UsageError(f"{name} is a damaged {kind.format} image", param=name) from error
    except Exception as error:
        raise UsageError(f"{name} is a damaged {kind.format} image: {error}", param=name) from error


def _other(data: bytes) -> str:
    unread = unread_format(data)
    return f"a file of the format {unread}, which is not read here" if unread else "no image"


def _check_size(image: Image.Image, data: bytes, name: str) -> None:
    """Check the size that the header promises, and make a large JPEG smaller while decoding.

    Raises:
        UsageError: the image has too many pixels.
    """
    width, height = image.size
    is_jpeg = image.format in DECODERS["JPEG"]
    most = MAX_JPEG_PIXELS if is_jpeg and _has_one_scan(image, data) else MAX_PIXELS
    if width * height > most or not width * height:
        raise UsageError(
            f"{name} has {width} x {height} pixels, an image at most {most // 1_000_000} million",
            hint="send it in a smaller size",
            param=name,
        )
    if is_jpeg:
        image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
        if image.size[0] * image.size[1] > MAX_PIXELS:
            raise UsageError(f"{name} has {width} x {height} pixels, too many", param=name)


def _has_one_scan(image: Image.Image, data: bytes) -> bool:
    """Return whether a JPEG is decoded row by row.

    Otherwise libjpeg keeps all coefficients, 6 bytes a pixel: of a progressive JPEG, and of one
    whose first scan lacks colours (ITU-T T.81, B.2.3).
    """
    num_colours: int = getattr(image, "layers", 0)
    is_progressive = "progressive" in image.info
    return not is_progressive and num_colours > 0 and _first_scan(data) == num_colours


def _first_scan(jpeg: bytes) -> int:
    """Return the number of colours in the first scan of a JPEG, or 0 if there is none nearby."""
    place = 2
    for _ in range(MAX_SEGMENTS):
        marker, length = jpeg[place : place + 2], int.from_bytes(jpeg[place + 2 : place + 4], "big")
        if marker == SCAN:
            return jpeg[place + 4] if len(jpeg) > place + 4 else 0
        if marker[:1] != SCAN[:1]:
            return 0
        place += 2 + length
    return 0


def _pixels(image: Image.Image, *, is_low_detail: bool) -> Pixels:
    from PIL import ImageOps

    image.load()
    seen = _on_white(_in_eight_bits(ImageOps.exif_transpose(image)))
    if is_low_detail:
        seen.thumbnail((LOW_DETAIL_SIDE, LOW_DETAIL_SIDE))
    return Pixels(seen.width, seen.height, seen.tobytes())


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey image of 16 bits with 8: Pillow's own conversion would clip to white."""
    if image.mode not in SIXTEEN_BITS:
        return image
    return image.convert("F").point(lambda value: value * BITS_TO_DROP).convert("L")


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image in RGB with white where it is transparent."""
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("RGB")
    colours = image.convert("RGBA")
    ground = Image.new("RGBA", colours.size, WHITE)
    ground.alpha_composite(colours)
    return ground.convert("RGB")
