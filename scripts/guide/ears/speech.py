"""Speech of espeak-ng and flite: words in many English voices, some of which are held out.

espeak-ng computes a voice from rules: an accent, and a variant that is a throat and a way to speak.
There are hundreds of them, but none sounds like a person. flite has few, made of recordings. The
programs are Debian's packages ``espeak-ng`` and ``flite``; same words, same samples.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from guide.ears.mel import RATE
from guide.sample import Split
from localrun.media.resampling import Resampler

if TYPE_CHECKING:
    import random

ACCENTS = {
    Split.TRAIN: (
        "en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029",
    ),
    Split.HELD_OUT: ("en-us-nyc", "en-gb-x-gbclan"),
}  # fmt: skip
VARIANTS = {
    Split.TRAIN: tuple(
        """
        Alex Alicia Andy Annie Denis Diogo Gene Henrique Jacky Lee Marco Mario Michael
        Nguyen RicishayMax Tweaky adam anika announcer antonio aunty boris caleb david ed
        edward f1 f2 f3 f4 grandma grandpa gustave iven iven3 john kaukovalta klatt klatt2
        klatt3 klatt4 m1 m2 m3 m4 m5 m6 marcelo max michel miguel norbert paul pedro quincy
        rob robert sandro shelby victor whisper
        """.split()
    ),
    Split.HELD_OUT: tuple(
        """
        Andrea Hugo Mike Storm belinda benjamin f5 klatt6 linda m7 m8 pablo steph travis
        whisperf zac
        """.split()
    ),
}
SPEEDS = {  # words a minute
    Split.TRAIN: range(80, 240, 10),
    Split.HELD_OUT: (95, 135, 175, 215, 245),
}
PITCHES = range(20, 85)  # of 0 to 99
PERSONS = {Split.TRAIN: ("kal16", "awb", "slt"), Split.HELD_OUT: ("rms",)}  # of flite
PERSON_SHARE = 0.35
ENDINGS = ("", ".", "?", "!", ",")  # they change the melody
SILENCE = 0.01  # of the peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How something is said: a command that takes a text and writes a wav file to stdout."""

    command: tuple[str, ...]
    ending: str


def any_voice(rng: random.Random, split: Split) -> Voice:
    """Draw a voice of either program."""
    return person(rng, split) if rng.random() < PERSON_SHARE else computed(rng, split)


def computed(rng: random.Random, split: Split) -> Voice:
    """Draw a voice of espeak-ng."""
    name = f"{rng.choice(ACCENTS[split])}+{rng.choice(VARIANTS[split])}"
    speed, pitch = rng.choice(SPEEDS[split]), rng.choice(PITCHES)
    command = ("espeak-ng", "--stdout", "-v", name, "-s", str(speed), "-p", str(pitch))
    return Voice(command=command, ending=rng.choice(ENDINGS))


def person(rng: random.Random, split: Split) -> Voice:
    """Draw a voice of flite."""
    options = {
        "duration_stretch": round(rng.uniform(0.7, 1.8), 2),
        "int_f0_target_mean": rng.randint(80, 240),  # Hz
    }
    settings = (word for name, value in options.items() for word in ("--setf", f"{name}={value}"))
    voice = rng.choice(PERSONS[split])
    command = ("flite", "-voice", voice, *settings, "-o", "/dev/stdout", "-t")
    return Voice(command=command, ending=rng.choice(ENDINGS))


def say(text: str, voice: Voice) -> np.ndarray:
    """Return a text as samples at the encoder's rate, without the silence around it.

    Raises:
        SystemExit: the program is not installed.
    """
    program = voice.command[0]
    if shutil.which(program) is None:
        raise SystemExit(f"{program} is missing: apt-get install {program}")
    command = (*voice.command, text + voice.ending)
    done = subprocess.run(command, check=True, capture_output=True)
    samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    return trimmed(at_rate(samples, rate, RATE))


def at_rate(samples: np.ndarray, source: int, target: int) -> np.ndarray:
    """Return samples at another rate, as localrun computes them for a file."""
    resampler = Resampler(source, target)
    return np.concatenate([resampler.push(samples), resampler.finish()])


def trimmed(samples: np.ndarray) -> np.ndarray:
    """Return samples without silence at both ends, the peak at 1."""
    level = np.abs(samples)
    loud = np.flatnonzero(level > level.max() * SILENCE)
    if not len(loud):
        return samples[:1]
    return samples[loud[0] : loud[-1] + 1] / level.max()
