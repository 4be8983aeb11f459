"""Sounds: bytes of a file to samples, within limits that are read from the header first.

libsndfile decodes wav, mp3, flac, ogg and opus. A header may promise any length, so samples are
read in blocks up to the limit. The result is mono at the rate that a model wants.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from localrun.errors import UsageError
from localrun.media.kinds import kind_of, unread_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    import soundfile

MAX_SECONDS = 1800
MAX_RATE, MAX_CHANNELS = 384_000, 8
BLOCK_FRAMES = 65536
FORMATS = ("wav", "mp3", "flac", "ogg", "opus")


def decode_sound(data: bytes, name: str, *, rate: int) -> np.ndarray:
    """Return the samples of a sound file, float32 of shape (num_samples,), at ``rate`` a second.

    Blocks. Raises:
        UsageError: the bytes are no sound of `FORMATS`, are damaged, or exceed the limits; the
            error begins with ``name``.
    """
    kind = kind_of(data)
    if kind is None or kind.kind != "sound":
        raise UsageError(f"{name} is {_other(data)}; sounds are {', '.join(FORMATS)}", param=name)
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check(file, name)
            blocks = list(_blocks(file, name))
            source_rate = file.samplerate
    except UsageError:
        raise
    except soundfile.LibsndfileError as error:  # its whole text names an object of ours
        reason = error.error_string
        raise UsageError(
            f"{name} is a damaged {kind.format} sound: {reason}", param=name
        ) from error
    except Exception as error:
        raise UsageError(f"{name} is a damaged {kind.format} sound: {error}", param=name) from error
    if not blocks:
        raise UsageError(f"{name} has no samples", param=name)
    samples = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise UsageError(f"{name} has samples that are no numbers", param=name)
    return _at_rate(samples, source_rate, rate)


def _other(data: bytes) -> str:
    unread = unread_format(data)
    return f"a file of the format {unread}, which is not read here" if unread else "no sound"


def _check(file: soundfile.SoundFile, name: str) -> None:
    if not 0 < file.samplerate <= MAX_RATE or not 0 < file.channels <= MAX_CHANNELS:
        raise UsageError(
            f"{name} has {file.channels} channels of {file.samplerate} Hz, at most {MAX_CHANNELS}"
            f" of {MAX_RATE}",
            param=name,
        )


def _blocks(file: soundfile.SoundFile, name: str) -> Iterator[np.ndarray]:
    """Yield mono blocks up to the end.

    Raises:
        UsageError: the sound is too long.
    """
    num_frames = 0
    for block in file.blocks(blocksize=BLOCK_FRAMES, dtype="float32", always_2d=True):
        num_frames += len(block)
        if num_frames > MAX_SECONDS * file.samplerate:
            raise UsageError(
                f"{name} is longer than {MAX_SECONDS // 60} minutes",
                hint="cut it into parts",
                param=name,
            )
        yield block.mean(axis=1)


def _at_rate(samples: np.ndarray, source: int, target: int) -> np.ndarray:
    """Return samples at another rate, by linear interpolation behind a moving average.

    The average over the samples that become one removes what the new rate cannot hold.
    """
    if source == target:
        return samples.astype(np.float32)
    width = max(1, round(source / target))
    if width > 1:
        padded = np.concatenate([np.zeros(1), np.cumsum(samples, dtype=np.float64)])
        start = np.clip(np.arange(len(samples)) - width // 2, 0, len(samples))
        end = np.clip(start + width, 0, len(samples))
        samples = (padded[end] - padded[start]) / np.maximum(1, end - start)
    count = max(1, round(len(samples) * target / source))
    places = np.arange(count) * (source / target)
    resampled: np.ndarray = np.interp(places, np.arange(len(samples)), samples)
    return resampled.astype(np.float32)
