"""Memory need of a projector: its file, and the buffers of the largest media it may encode.

libmtmd keeps a copy of the file on the device, and has a compute buffer for the largest image so
far, and one for the largest sound. That has the activations of all patches of an image. Qwen2.5-VL
adds masks of patches squared for its windows, which exceed all else: 1.5 GB for an image of 4096
tokens. An encoder of whole sounds copies the inputs of its widest kernel for each frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.gguf.header import read_header

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.gguf.header import Header

FLOAT_BYTES = 4
MASK_BYTES = 6  # of each pair of patches: in 32 bits, and in 16 for flash attention
MOST_TOKENS = 4096  # of an image of any size, in libmtmd
DYNAMIC = {"qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger", "glm4v", "pixtral"}
MASKED = {"qwen2.5vl_merger"}
AUDIO_FRAMES = 3000  # of 30 s
WHOLE_SOUNDS = "qwen3tts_spkenc"  # the type whose encoder takes a sound whole
NUM_KERNEL_SIZES = 3  # of a convolution over time: length, inputs, outputs
INPUT_BYTES = 6  # of each input of a kernel: in 32 bits, and in 16 for weights of 16 bits
LARGEST = 2**24  # patches, or inputs of a kernel: more is a damaged header


def projector_bytes(path: Path) -> int:
    """Return the memory that a projector takes when it has encoded its largest media.

    Raises:
        OSError: the file cannot be opened.
    """
    size_bytes = path.stat().st_size
    try:
        return size_bytes + buffer_bytes(read_header(path))
    except IntegrityError:  # the load reports it
        return size_bytes


def buffer_bytes(header: Header) -> int:
    """Return the size of the compute buffers for the largest image and sound; each has its own."""
    return _image_bytes(header) + _audio_bytes(header)


def _image_bytes(header: Header) -> int:
    patch = _number(header, "clip.vision.patch_size")
    if not patch:
        return 0
    kind = header.text("clip.projector_type") or header.text("clip.vision.projector_type")
    num_patches = (_number(header, "clip.vision.image_size") // patch) ** 2
    if kind in DYNAMIC:
        merged = _number(header, "clip.vision.spatial_merge_size") or 2
        num_patches = MOST_TOKENS * merged**2
    num_patches = min(num_patches, LARGEST)
    masks = MASK_BYTES * num_patches**2 if kind in MASKED else 0
    return num_patches * _patch_bytes(header, "clip.vision") + masks


def _audio_bytes(header: Header) -> int:
    if not _number(header, "clip.audio.num_mel_bins"):
        return 0
    frame_bytes = _patch_bytes(header, "clip.audio")
    if takes_whole_sounds(header):
        frame_bytes += INPUT_BYTES * _widest_kernel(header)
    return AUDIO_FRAMES * frame_bytes


def takes_whole_sounds(header: Header) -> bool:
    """Return whether the encoder of sounds takes them whole, and not in pieces."""
    kinds = (header.text("clip.audio.projector_type"), header.text("clip.projector_type"))
    return WHOLE_SOUNDS in kinds


def _widest_kernel(header: Header) -> int:
    """Return the most inputs that a kernel of sounds has in a frame."""
    sizes = (tensor.sizes for name, tensor in header.tensors.items() if name.startswith("a."))
    widths = (size[0] * size[1] for size in sizes if len(size) == NUM_KERNEL_SIZES)
    return min(max(widths, default=0), LARGEST)


def _patch_bytes(header: Header, prefix: str) -> int:
    """Return the bytes of the activations of one patch: its vectors, and the wide inner one."""
    width = _number(header, f"{prefix}.embedding_length")
    inner = _number(header, f"{prefix}.feed_forward_length")
    return FLOAT_BYTES * (inner + 4 * width)


def _number(header: Header, key: str) -> int:
    value = header.metadata.get(key)
    return value if isinstance(value, int) and 0 <= value <= LARGEST else 0
