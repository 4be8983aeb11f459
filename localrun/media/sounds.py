"""Sounds: bytes of a file to samples, within limits that are read from the header first.

libsndfile decodes wav, mp3, flac, ogg and opus. A header may promise any length, so samples are
read and resampled in blocks, up to the limit. The result is mono at the rate that a model wants.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from localrun.errors import UsageError
from localrun.media.deadline import Deadline
from localrun.media.ffmpeg import DEMUXERS, decode_by_ffmpeg
from localrun.media.kinds import kind_of, unread_format
from localrun.media.resampling import Resampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    import soundfile

MAX_SECONDS = 1800
MAX_RATE, MAX_CHANNELS = 384_000, 8
BLOCK_FRAMES = 65536
FORMATS = ("wav", "mp3", "flac", "ogg", "opus")


def decode_sound(data: bytes, name: str, *, rate: int, ffmpeg: str = "") -> np.ndarray:
    """Return the samples of a sound file, float32 of shape (num_samples,), at ``rate`` a second.

    ``ffmpeg`` is the program that reads other containers, "" if there is none. Blocks.

    Raises:
        UsageError: as of `sound_blocks`.
    """
    return np.concatenate(list(sound_blocks(data, name, rate=rate, ffmpeg=ffmpeg)))


def sound_blocks(data: bytes, name: str, *, rate: int, ffmpeg: str = "") -> Iterator[np.ndarray]:
    """Yield the samples that `decode_sound` returns, in blocks of any length.

    Raises:
        UsageError: the bytes are no sound of `FORMATS`, are damaged, exceed the limits or take too
            long; the error begins with ``name``.
    """
    deadline, kind, num_samples = Deadline(name), kind_of(data), 0
    if kind is None or kind.kind != "sound":
        blocks = iter([_by_ffmpeg(data, name, deadline, rate=rate, program=ffmpeg)])
    else:
        blocks = _by_libsndfile(data, kind.format, name, deadline, rate=rate)
    for block in blocks:
        if not np.isfinite(block).all():
            raise UsageError(f"{name} has samples that are no numbers", param=name)
        num_samples += len(block)
        yield block
    if not num_samples:
        raise UsageError(f"{name} has no samples", param=name)


def _by_libsndfile(
    data: bytes, form: str, name: str, deadline: Deadline, *, rate: int
) -> Iterator[np.ndarray]:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check(file, name)
            yield from _resampled(file, name, deadline, rate)
    except UsageError:
        raise
    except soundfile.LibsndfileError as error:  # its whole text names an object of ours
        reason = error.error_string
        raise UsageError(f"{name} is a damaged {form} sound: {reason}", param=name) from error
    except Exception as error:
        raise UsageError(f"{name} is a damaged {form} sound: {error}", param=name) from error


def _by_ffmpeg(
    data: bytes, name: str, deadline: Deadline, *, rate: int, program: str
) -> np.ndarray:
    """Return the samples of a container that only ffmpeg reads.

    Raises:
        UsageError: the user has no ffmpeg for it, or it is no such container.
    """
    form = unread_format(data)
    if form not in DEMUXERS:
        raise UsageError(f"{name} is {_other(form)}; sounds are {', '.join(FORMATS)}", param=name)
    if not program:
        raise UsageError(
            f"{name} is a file of the format {form}, which only ffmpeg reads;"
            f" sounds are {', '.join(FORMATS)}",
            hint="start the server with LOCALRUN_FFMPEG=1 if ffmpeg is installed, or convert it:"
            " ffmpeg -i FILE sound.wav",
            param=name,
        )
    most = MAX_SECONDS * rate
    samples = decode_by_ffmpeg(data, form, program, deadline, rate=rate, max_samples=most)
    if len(samples) > most:
        raise _too_long(name)
    return samples


def _other(form: str | None) -> str:
    return f"a file of the format {form}, which is not read here" if form else "no sound"


def _check(file: soundfile.SoundFile, name: str) -> None:
    if not 0 < file.samplerate <= MAX_RATE or not 0 < file.channels <= MAX_CHANNELS:
        raise UsageError(
            f"{name} has {file.channels} channels of {file.samplerate} Hz, at most {MAX_CHANNELS}"
            f" of {MAX_RATE}",
            param=name,
        )


def _resampled(
    file: soundfile.SoundFile, name: str, deadline: Deadline, rate: int
) -> Iterator[np.ndarray]:
    """Yield mono blocks at another rate, up to the end.

    Raises:
        UsageError: the sound is too long, or takes too long.
    """
    resampler = Resampler(file.samplerate, rate) if file.samplerate != rate else None
    num_frames = 0
    for block in file.blocks(blocksize=BLOCK_FRAMES, dtype="float32", always_2d=True):
        deadline.check()
        num_frames += len(block)
        if num_frames > MAX_SECONDS * file.samplerate:
            raise _too_long(name)
        mono = block.mean(axis=1, dtype=np.float32)
        yield mono if resampler is None else resampler.push(mono)
    yield np.empty(0, np.float32) if resampler is None else resampler.finish()


def _too_long(name: str) -> UsageError:
    return UsageError(
        f"{name} is longer than {MAX_SECONDS // 60} minutes", hint="cut it into parts", param=name
    )
