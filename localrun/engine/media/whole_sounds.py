"""Lengths of sounds for an encoder that takes them whole (`takes_whole_sounds`).

Other encoders pad a sound and cut it into pieces. This one reflects both ends of a sound for its
kernels, and ends the process if one of them reaches further than the sound is long. Its memory
grows with the sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localrun.errors import UsageError
from localrun.hardware.projector import NUM_KERNEL_SIZES, takes_whole_sounds

if TYPE_CHECKING:
    from localrun.gguf.header import Header

FRAME_SAMPLES = 256  # from one frame to the next
DILATED, DILATION = ".res2.", 4  # of these kernels, at most
MOST_SECONDS = 30  # as long as the pieces of the other encoders


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundLengths:
    """The least number of samples of a sound, to which shorter ones are padded."""

    least: int

    def padded(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Return samples with silence behind them if they are too few.

        Raises:
            UsageError: they are too many.
        """
        if len(samples) > MOST_SECONDS * rate:
            raise UsageError(
                f"the sound is longer than {MOST_SECONDS} seconds, which this model takes at once",
                hint="cut it into parts",
            )
        return np.pad(samples, (0, max(0, self.least - len(samples))))


def sound_lengths(header: Header) -> SoundLengths | None:
    """Return the limits of a projector's sounds, or None if libmtmd takes any."""
    if not takes_whole_sounds(header):
        return None
    reaches = (_reach(name, tensor.sizes) for name, tensor in header.tensors.items())
    return SoundLengths(least=(max(reaches, default=0) + 1) * FRAME_SAMPLES)


def _reach(name: str, sizes: tuple[int, ...]) -> int:
    """Return the frames that a kernel needs on each side of a frame."""
    if not name.startswith("a.") or len(sizes) != NUM_KERNEL_SIZES:
        return 0
    return (sizes[0] - 1) * (DILATION if DILATED in name else 1) // 2
