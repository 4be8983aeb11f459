"""Pictures for benchmarks: JPEG files that look like photos to a decoder, as data URLs."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

SCREEN = 1024, 768
PHONE = 4000, 3000
QUALITY = 88
BLOCK = 50  # pixels of one smooth part
NOISE = 12.0


@cache  # both servers get the same picture, and drawing twelve million pixels takes a second
def photo(seed: int, size: tuple[int, int] = SCREEN) -> bytes:
    """Return a JPEG file of smooth colours and some noise."""
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (-(-height // BLOCK), -(-width // BLOCK), 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    noise = rng.normal(0, NOISE, (height, width, 1)).astype(np.float32)
    pixels = np.clip(np.asarray(smooth, dtype=np.float32) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def look(picture: bytes, text: str) -> dict[str, Any]:
    """Return a message of the user with a picture and a text."""
    url = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    image = {"type": "image_url", "image_url": {"url": url}}
    return {"role": "user", "content": [image, {"type": "text", "text": text}]}
