"""Labelled pictures: a digit, printed or handwritten, a plain colour, or something else.

The fonts are those of Pillow and matplotlib, handwriting and photographs are scikit-learn's (1797
digits of 8 x 8 pixels), so that a training needs no files of its own. Some fonts, the last fifth of
the handwriting and the right of the photographs are held out. The same seed draws the same.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from guide import words
from guide.pictures import COLOURS, DIGITS
from guide.sample import Split

if TYPE_CHECKING:
    import random

INKS = {  # shades that people call so, most of them CSS colours
    "red": ((255, 0, 0), (215, 35, 35), (178, 34, 34), (139, 0, 0), (220, 20, 60)),
    "green": ((0, 255, 0), (0, 128, 0), (30, 150, 50), (50, 205, 50), (0, 100, 0), (144, 238, 144)),
    "blue": (
        (0, 0, 255),
        (35, 70, 215),
        (0, 0, 139),
        (30, 144, 255),
        (70, 130, 180),
        (135, 206, 250),
    ),
    "yellow": ((255, 255, 0), (240, 215, 30), (255, 215, 0), (255, 240, 120)),
    "orange": ((255, 165, 0), (245, 140, 20), (255, 127, 0), (235, 115, 20)),
    "purple": ((128, 0, 128), (130, 45, 165), (148, 0, 211), (75, 0, 130), (150, 90, 190)),
    "black": ((0, 0, 0), (14, 14, 14), (28, 28, 28)),
    "white": ((255, 255, 255), (248, 248, 248), (240, 240, 240)),
    "pink": ((255, 192, 203), (250, 150, 190), (255, 105, 180), (255, 175, 195)),
    "brown": ((120, 75, 35), (139, 69, 19), (101, 67, 33), (150, 80, 45), (150, 50, 40)),
    "grey": ((128, 128, 128), (169, 169, 169), (105, 105, 105), (190, 190, 190), (80, 80, 80)),
}
FONTS = {
    Split.TRAIN: (
        "", "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono-Bold",
        "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol",
        "STIXGeneralItalic", "cmb10", "cmr10", "cmtt10",
    ),
    Split.HELD_OUT: ("DejaVuSans-BoldOblique", "DejaVuSansMono", "STIXGeneralBolIta", "cmss10"),
}  # fmt: skip  # "" is Pillow's own
LUMINANCE = (0.299, 0.587, 0.114)
LEAST_CONTRAST = 70  # of ink and ground, of 255
FONT_SIZE = 64
LETTERS = "ACEFGHJKLMNPRTUVWXYacdefhjkmnprtuvwxy?!#&@%"  # none that looks like a digit
LEAST_LIVELY = 28  # standard deviation of luminance in a piece of a photograph, of 255
BY_HAND_SHARE = 0.55
HANDWRITTEN_HELD_OUT = 0.2


def draw(rng: random.Random, word: str, split: Split) -> Image.Image:
    """Draw a picture that shows one of `WORDS`; about half of the digits are handwritten."""
    if word in COLOURS:
        return colour(rng, word)
    if word in DIGITS:
        return digit(rng, word, split, by_hand=rng.random() < BY_HAND_SHARE)
    return unclear(rng, split)


def colour(rng: random.Random, word: str) -> Image.Image:
    """Draw a plain colour with some noise and an uneven light."""
    width, height = _size(rng)
    shade = np.array(rng.choice(INKS[word])) + rng.uniform(-8, 8) + _each(rng, -6, 6)
    light = np.linspace(-1, 1, width)[None, :, None] * rng.uniform(0, 8)
    pixels = shade + light + _noise(rng, (height, width, 1), 8)
    return _image(pixels)


def unclear(rng: random.Random, split: Split) -> Image.Image:
    """Draw anything else: letters, longer numbers, shapes, patterns, parts of photographs."""
    width, height = _size(rng)
    chance = rng.random()
    if chance < 0.35:
        mask = _mask(_placed(rng, _printed(rng, _lettering(rng), split), width, height))
        return _painted(rng, mask)
    if chance < 0.55:
        return _painted(rng, _mask(_placed(rng, _shape(rng), width, height)))
    if chance < 0.75:
        return _painted(rng, _pattern(rng, width, height))
    return _photograph(rng, split, max(width, height))


def digit(rng: random.Random, word: str, split: Split, *, by_hand: bool) -> Image.Image:
    """Draw a digit of a split's fonts or handwriting, anywhere in the picture, in any colours."""
    form = _written(rng, word, split) if by_hand else _printed(rng, word, split)
    width, height = _size(rng)
    return _painted(rng, _mask(_placed(rng, form, width, height)))


@cache
def handwriting(split: Split) -> dict[str, list[Image.Image]]:
    """Return the handwritten forms of each digit of a split, white on black."""
    from sklearn.datasets import load_digits

    data = load_digits()
    first_held_out = round(len(data.images) * (1 - HANDWRITTEN_HELD_OUT))
    part = slice(first_held_out) if split is Split.TRAIN else slice(first_held_out, None)
    forms: dict[str, list[Image.Image]] = {word: [] for word in DIGITS}
    for pixels, label in zip(data.images[part], data.target[part], strict=True):
        forms[str(label)].append(Image.fromarray((pixels / 16 * 255).astype(np.uint8)))
    return forms


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Fit a picture into a square as llama.cpp does: bicubic, rounded up, centred on grey."""
    width, height = image.size
    scale = side / max(width, height)
    size = (min(side, -int(-width * scale // 1)), min(side, -int(-height * scale // 1)))
    square = Image.new("RGB", (side, side), (127, 127, 127))
    place = ((side - size[0]) // 2, (side - size[1]) // 2)
    square.paste(image.resize(size, Image.Resampling.BICUBIC), place)
    return square


def pixels(image: Image.Image, side: int) -> np.ndarray:
    """Return what llama.cpp gives to an encoder as bytes, shape (3, side, side)."""
    return np.asarray(fitted(image, side)).transpose(2, 0, 1)


def _mask(form: Image.Image) -> np.ndarray:
    return np.asarray(form, np.float32)[:, :, None] / 255


def _painted(rng: random.Random, mask: np.ndarray) -> Image.Image:
    """Paint ink on a ground; ``mask`` is the share of ink, shape (height, width, 1)."""
    ink, ground = _ink_and_ground(rng)
    return _image(ground + (ink - ground) * mask + _noise(rng, mask.shape, 10))


def _lettering(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice(LETTERS)
    return str(rng.randint(10, 999)) if rng.random() < 0.6 else words.word(rng)[:5]


def _shape(rng: random.Random) -> Image.Image:
    canvas = Image.new("L", (FONT_SIZE, FONT_SIZE), 0)
    pen, middle, radius = ImageDraw.Draw(canvas), FONT_SIZE / 2, FONT_SIZE / 2 - 4
    kind = rng.choice(("polygon", "star", "plus", "disc", "lines"))
    if kind == "polygon":
        is_filled, turn = rng.random() < 0.6, rng.randint(0, 90)
        sides = rng.choice((3, 4, 5, 6) if is_filled else (3, 4))  # outlines of more look like a 0
        circle = (middle, middle, radius)
        fill = 255 if is_filled else 0
        pen.regular_polygon(circle, sides, turn, fill=fill, outline=255, width=rng.randint(3, 8))
    elif kind == "disc":
        pen.ellipse((4, 4, FONT_SIZE - 4, rng.randint(FONT_SIZE // 2, FONT_SIZE - 4)), fill=255)
    elif kind == "lines":
        for _ in range(rng.randint(3, 6)):
            ends = [rng.uniform(2, FONT_SIZE - 2) for _ in range(4)]
            pen.line(ends, fill=255, width=rng.randint(2, 6))
    else:
        points, inner = (rng.choice((5, 6, 8)), 0.42) if kind == "star" else (4, 0.25)
        corners = [
            (middle + size * math.sin(angle), middle - size * math.cos(angle))
            for index in range(points * 2)
            for angle in [math.pi * index / points]
            for size in [radius * (inner if index % 2 else 1)]
        ]
        pen.polygon(corners, fill=255)
    return _trimmed(canvas)


def _pattern(rng: random.Random, width: int, height: int) -> np.ndarray:
    """Draw stripes, a shading from one colour to the other, or clouds."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    angle = rng.uniform(0, math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    kind = rng.choice(("stripes", "shading", "clouds"))
    if kind == "stripes":
        values = np.sin(along * rng.uniform(10, 50)) > rng.uniform(-0.5, 0.5)
    elif kind == "shading":
        values = (along - along.min()) / max(float(np.ptp(along)), 1e-6)
    else:
        coarse = np.random.default_rng(rng.randrange(2**31)).random((rng.randint(3, 7),) * 2)
        clouds = Image.fromarray((coarse * 255).astype(np.uint8))
        values = np.asarray(clouds.resize((width, height), Image.Resampling.BICUBIC)) / 255
    return values.astype(np.float32)[:, :, None]


def _photograph(rng: random.Random, split: Split, side: int) -> Image.Image:
    """Cut a lively piece from a photograph; the right quarter of each is held out."""
    while True:
        photo = rng.choice(_photographs())
        border = photo.width * 3 // 4
        low, high = (0, border) if split is Split.TRAIN else (border, photo.width)
        size = rng.randint(24, min(high - low, photo.height))
        left, top = rng.randint(low, high - size), rng.randint(0, photo.height - size)
        piece = photo.crop((left, top, left + size, top + size)).resize((side, side))
        if np.asarray(piece.convert("L")).std() > LEAST_LIVELY:
            return piece


@cache
def _photographs() -> list[Image.Image]:
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(pixels) for pixels in load_sample_images().images]


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    if not name:
        return ImageFont.load_default(FONT_SIZE)  # type: ignore[return-value]
    import matplotlib as mpl

    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"{name}.ttf", FONT_SIZE)


def _printed(rng: random.Random, word: str, split: Split) -> Image.Image:
    font = _font(rng.choice(FONTS[split]))
    canvas = Image.new("L", (FONT_SIZE * (len(word) + 1), FONT_SIZE * 2), 0)
    stroke = rng.choice((0, 0, 0, 1, 2))
    place = (FONT_SIZE // 2, FONT_SIZE // 2)
    ImageDraw.Draw(canvas).text(place, word, fill=255, font=font, stroke_width=stroke)
    return _trimmed(canvas)


def _written(rng: random.Random, word: str, split: Split) -> Image.Image:
    """Draw one of the handwritten forms larger, slanted, and with a thinner or a bolder pen."""
    room = 12  # pixels of the form and of two on each side
    form = Image.new("L", (room, room), 0)
    form.paste(rng.choice(handwriting(split)[word]), (2, 2))
    form = form.resize((FONT_SIZE, FONT_SIZE), Image.Resampling.BICUBIC)
    slant, lean = rng.gauss(0, 0.12), rng.gauss(0, 0.06)
    middle = FONT_SIZE / 2
    matrix = (1, slant, -slant * middle, lean, 1, -lean * middle)
    form = form.transform(form.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    edge, sharpness = rng.uniform(60, 140), rng.choice((0, 2, 4, 8))
    if sharpness:
        form = form.point(
            [min(255, max(0, round(127 + (i - edge) * sharpness))) for i in range(256)]
        )
    return _trimmed(form) if form.getbbox() else _written(rng, word, split)


def _trimmed(form: Image.Image) -> Image.Image:
    return form.crop(form.getbbox())


def _size(rng: random.Random) -> tuple[int, int]:
    """Draw width and height: half of the pictures are square."""
    long = rng.randint(24, 112)
    short = long if rng.random() < 0.5 else round(long * rng.uniform(0.6, 1))
    return (long, short) if rng.random() < 0.5 else (short, long)


def _placed(rng: random.Random, form: Image.Image, width: int, height: int) -> Image.Image:
    """Scale, turn and place a form on black of this size."""
    share = rng.uniform(0.5, 0.95) if rng.random() < 0.6 else rng.uniform(0.75, 0.98)
    scale = share * min(width / form.width, height / form.height)
    stretch = rng.uniform(0.85, 1.1)
    size = (
        max(3, min(width, round(form.width * scale * stretch))), max(5, round(form.height * scale))
    )  # fmt: skip
    sized = form.resize(size, Image.Resampling.BICUBIC)
    canvas = Image.new("L", (width, height), 0)
    free = (width - size[0], height - size[1])
    place = [round(room * min(1, max(0, rng.gauss(0.5, 0.22)))) for room in free]
    canvas.paste(sized, (place[0], place[1]))
    canvas = canvas.rotate(rng.gauss(0, 4), Image.Resampling.BILINEAR)
    if rng.random() < 0.3:
        canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0, max(width, height) / 40)))
    return canvas


def _ink_and_ground(rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Draw two colours that differ enough in luminance; often black on white."""
    if rng.random() < 0.3:
        dark, light = rng.uniform(0, 40), rng.uniform(215, 255)
        pair = [np.full(3, dark), np.full(3, light)]
        return (pair[0], pair[1]) if rng.random() < 0.75 else (pair[1], pair[0])
    while True:
        ink, ground = (
            np.full(3, rng.uniform(0, 255)) if rng.random() < 0.4 else _each(rng, 0, 255)
            for _ in range(2)
        )
        if abs(float(np.dot(ink - ground, LUMINANCE))) > LEAST_CONTRAST:
            return ink, ground


def _each(rng: random.Random, low: float, high: float) -> np.ndarray:
    return np.array([rng.uniform(low, high) for _ in range(3)])


def _noise(rng: random.Random, shape: tuple[int, ...], most: float) -> np.ndarray:
    seeded = np.random.default_rng(rng.randrange(2**31))
    return seeded.normal(0, rng.uniform(0, most), shape)


def _image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))
