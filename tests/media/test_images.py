"""Images become what a person sees, and hostile files become one error."""

from __future__ import annotations

import io
import random
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from localrun.errors import UsageError
from localrun.media.images import LOW_DETAIL_SIDE, MAX_PIXELS, Pixels, decode_image

NUM_MUTATIONS = 300
ORIENTATION, ROTATED = 0x112, 6


def noise(width: int = 60, height: int = 40) -> Image.Image:
    values = np.random.default_rng(1).integers(0, 255, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def array(pixels: Pixels) -> np.ndarray:
    return np.frombuffer(pixels.data, np.uint8).reshape(pixels.height, pixels.width, 3)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_each_format_is_read(form: str) -> None:
    pixels = decode_image(encoded(noise(), form), "x")

    assert array(pixels).shape == (40, 60, 3)


def test_pixels_of_a_png_are_exact() -> None:
    assert (array(decode_image(encoded(noise(), "PNG"), "x")) == np.asarray(noise())).all()


def test_a_photo_is_turned_as_the_camera_says() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = ROTATED

    pixels = decode_image(encoded(noise(), "JPEG", exif=exif), "x")

    assert (pixels.width, pixels.height) == (40, 60)


def test_transparency_is_white() -> None:
    hidden = Image.new("RGBA", (4, 4), (0, 0, 0, 0))

    assert set(decode_image(encoded(hidden, "PNG"), "x").data) == {255}


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    ramp = Image.fromarray(np.arange(256 * 256, dtype=np.uint16).reshape(256, 256))

    values = array(decode_image(encoded(ramp, "PNG"), "x"))

    assert values.min() == 0
    assert values.max() == 255
    assert abs(float(values.mean()) - 127.5) < 1


def test_low_detail_bounds_the_size() -> None:
    pixels = decode_image(encoded(noise(2000, 1000), "PNG"), "x", is_low_detail=True)

    assert (pixels.width, pixels.height) == (LOW_DETAIL_SIDE, LOW_DETAIL_SIDE // 2)


def promised(width: int, height: int) -> bytes:
    """Return a PNG whose header promises a size that its data do not have."""
    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    chunk = (13).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk + encoded(noise(), "PNG")[33:]


def photo(width: int, height: int, **options: Any) -> bytes:
    """Return a JPEG whose header promises a size that its data do not have."""
    data, size = encoded(noise(), "JPEG", **options), b"\x08\0\x28\0\x3c"
    assert data.count(size) == 1
    return data.replace(size, b"\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big"))


def one_colour_a_scan(jpeg: bytes) -> bytes:
    """Return a JPEG whose first scan has one of three colours."""
    together = bytes.fromhex("ffda 000c 03 0100 0211 0311 003f00")
    assert jpeg.count(together) == 1
    return jpeg.replace(together, bytes.fromhex("ffda 0008 01 0100 003f00"))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is no image"),
        (b"hello", "is no image"),
        (b"%PDF-1.7", "is no image"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"<svg/>", "SVG"),
        (encoded(noise(), "PNG")[:200], "damaged PNG"),
        (encoded(noise(), "JPEG")[:-500], "damaged JPEG"),
        (b"\x89PNG\r\n\x1a\n" + encoded(noise(), "JPEG"), "damaged PNG"),
        (promised(2**31 - 1, 2**31 - 1), "pixels"),
        (promised(26000, 26000), "pixels"),
        (promised(100, 100), "damaged PNG"),
        (photo(20_000, 13_000), "at most 250 million"),
        (photo(10_000, 6_000, progressive=True), "at most 50 million"),
        (one_colour_a_scan(photo(10_000, 6_000)), "at most 50 million"),
        (encoded(Image.new("1", (MAX_PIXELS // 5000 + 1, 5000)), "PNG"), "pixels"),
    ],
)
def test_a_hostile_file_is_one_error_that_names_it(data: bytes, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        decode_image(data, "messages[0].images[0]")

    assert caught.value.message.startswith("messages[0].images[0] ")
    assert caught.value.param == "messages[0].images[0]"


def test_a_large_photo_is_decoded_at_a_fraction_of_its_size() -> None:
    pixels = decode_image(photo(10_000, 6_000), "x")

    assert (pixels.width, pixels.height) == (5000, 3000)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_mutated_files_end_in_pixels_or_in_an_error(form: str) -> None:
    whole, rng = encoded(noise(16, 12), form), random.Random(form)  # noqa: S311 - repeatable
    num_refused = 0
    for _ in range(NUM_MUTATIONS):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            decode_image(bytes(data[: rng.randint(1, len(data))]), "x")
        except UsageError:
            num_refused += 1

    assert 0 < num_refused <= NUM_MUTATIONS
