"""What a file made to hurt can do to the reader of headers: nothing that costs."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing.mutate import Mutator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.errors import IntegrityError
from localrun.gguf.header import MAX_TENSORS, read_header
from localrun.gguf.reader import LARGEST_HEADER, MAX_STRINGS
from localrun.store.store import embedded_models
from tests.gguf import builder
from tests.measuring import ROUNDS, plain_loops
from tests.unix_calls import make_pipe

ROOT = Path(__file__).parents[2]
GUIDE = embedded_models()["guide:latest"]
VOCABULARY = 150_000
MAX_LOOPS = 20  # of plain loops, for a small header
MAX_LOOPS_OF_WORST = 1000  # for the largest header that is allowed
MAX_MEMORY_MB = 200
ENDLESS_BYTES = 1 << 40  # of zeros, which take no room on a disk
MEASURE = """
import sys
from pathlib import Path
from localrun.errors import IntegrityError
from localrun.gguf.header import read_header
from tests.measuring import plain_loops
def read():
    try:
        read_header(Path(sys.argv[1]))
        print("read")
    except IntegrityError as error:
        print(error.message)
print(plain_loops(read))
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak[0].split()[1]) // 1024)  # getrusage would tell what the parent had
"""


def write(folder: Path, data: bytes, size_bytes: int = 0) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(data)
    os.truncate(path, max(len(data), size_bytes))
    return path


def measured(path: Path) -> list[str]:
    """Return what reading the header ends with, its cost in plain loops and the peak memory."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.splitlines()


def counts(num_tensors: int, num_pairs: int) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, num_tensors, num_pairs)


def string_array(key: str, length: int) -> bytes:
    return builder.text(key) + struct.pack("<IIQ", builder.ARRAY, builder.STRING, length)


def nested_arrays(num_pairs: int) -> bytes:
    inner = struct.pack("<IQ", builder.U8, 64) + bytes(64)
    outer = struct.pack("<IIQ", builder.ARRAY, builder.ARRAY, 64) + inner * 64
    return counts(0, num_pairs) + b"".join(builder.text(str(i)) + outer for i in range(num_pairs))


@given(st.integers(0, 2**64))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_broken_header_of_guide_is_read_or_refused(tmp_path: Path, number: int) -> None:
    mutant = Mutator(GUIDE).mutant(number)
    path = write(tmp_path, mutant.data, mutant.size_bytes)

    refusals: list[str] = []

    def read() -> None:
        try:
            read_header(path)
        except IntegrityError as error:
            refusals.append(error.message)

    assert plain_loops(read) < MAX_LOOPS
    assert all(": at byte " in refusal for refusal in refusals)


def test_a_mutant_is_made_again_by_its_number() -> None:
    assert Mutator(GUIDE).mutant(7) == Mutator(GUIDE).mutant(7)
    assert Mutator(GUIDE).mutant(7) != Mutator(GUIDE).mutant(8)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (counts(0, 1) + string_array("k", MAX_STRINGS), ""),
        (counts(0, 1) + string_array("k", MAX_STRINGS + 1), "4000001 strings in arrays"),
        (counts(0, 1) + string_array("k", 65) + struct.pack("<Q", LARGEST_HEADER), "536870912"),
        (counts(0, 1) + string_array("k", 65) + b"\xff" * 8, "it announces more than the"),
        (counts(0, 9), "a second value of ''"),
        (counts(MAX_TENSORS, 0), "a second tensor ''"),
        (nested_arrays(1000), "metadata that takes more than"),
    ],
    ids=["zeros", "strings", "long", "longest", "pairs", "tensors", "nested"],
)
def test_the_worst_files_cost_little(tmp_path: Path, data: bytes, reason: str) -> None:
    path = write(tmp_path, data, ENDLESS_BYTES)

    message, loops, memory_mb = measured(path)

    assert reason in message if reason else message == "read"
    assert int(memory_mb) < MAX_MEMORY_MB
    assert float(loops) < MAX_LOOPS_OF_WORST


def test_as_many_tensors_as_are_allowed_fit_in_memory(tmp_path: Path) -> None:
    tensors = [builder.tensor(f"{i:064}", [1, 2, 3, 4]) for i in range(MAX_TENSORS)]
    path = write(tmp_path, builder.header([], tensors))

    message, _, memory_mb = measured(path)

    assert message == "read"
    assert int(memory_mb) < MAX_MEMORY_MB


def test_a_text_that_grows_when_decoded_is_counted_as_it_is_in_memory(tmp_path: Path) -> None:
    wide = "a" * 4_000_000 + "\N{GRINNING FACE}"
    pairs = [builder.pair(f"k{i}", builder.STRING, wide) for i in range(5)]

    with pytest.raises(IntegrityError, match="metadata that takes more"):
        read_header(write(tmp_path, builder.header(pairs)))


def test_a_string_of_a_vocabulary_costs_a_few_rounds_of_a_loop(tmp_path: Path) -> None:
    tokens: list[builder.Plain] = [f"token{i}" for i in range(VOCABULARY)]
    pairs = [
        builder.array("tokenizer.ggml.tokens", builder.STRING, tokens),
        builder.array("tokenizer.ggml.token_type", builder.I32, [1] * VOCABULARY),
        builder.array("tokenizer.ggml.merges", builder.STRING, tokens),
    ]
    path = write(tmp_path, builder.header(pairs, [builder.tensor("t", [2, 3])]))

    loops = min(plain_loops(lambda: read_header(path)) for _ in range(5))

    assert read_header(path).num_params == 6
    assert loops * ROUNDS / (2 * VOCABULARY) < 8  # 3 as it is, 25 with a call for each string


def test_long_strings_in_arrays_are_passed_over_exactly(tmp_path: Path) -> None:
    lengths = [0, 1, 300_000, 7, 262_136, 0, 524_288, 3] * 10
    texts: list[builder.Plain] = ["x" * length for length in lengths]
    pairs = [
        builder.array("long", builder.STRING, texts),
        builder.pair("after", builder.STRING, "the right place"),
    ]

    assert read_header(write(tmp_path, builder.header(pairs))).text("after") == "the right place"


@pytest.mark.parametrize(
    ("order", "version", "reason"),
    [(">", 3, "a big-endian file"), (">", 2, "a big-endian file"), ("<", 1, "version 1, not 2 or")],
)
def test_byte_orders_and_old_versions_are_named(
    tmp_path: Path, order: str, version: int, reason: str
) -> None:
    path = write(tmp_path, struct.pack(f"{order}4sIQQ", b"GGUF", version, 0, 0))

    with pytest.raises(IntegrityError, match=f"at byte 4: {reason}"):
        read_header(path)


@pytest.mark.parametrize("alignment", [0, 3, 2**31, 2**21])
def test_an_alignment_that_is_none_is_refused(tmp_path: Path, alignment: int) -> None:
    pairs = [builder.pair("general.alignment", builder.U32, alignment)]

    with pytest.raises(IntegrityError, match=f"an alignment of {alignment}"):
        read_header(write(tmp_path, builder.header(pairs)))


def test_the_data_begins_at_the_next_multiple_of_the_alignment(tmp_path: Path) -> None:
    pairs = [builder.pair("general.alignment", builder.U32, 64)]
    data = builder.header(pairs)

    assert read_header(write(tmp_path, data)).data_start == -(-len(data) // 64) * 64
    assert read_header(write(tmp_path, builder.header([]))).data_start == 32


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            builder.header([builder.pair("k", builder.U8, 1)] * 2),
            "at byte 46: a second value of 'k'",
        ),
        (builder.header([], [builder.tensor("t", [1])] * 2), "a second tensor 't'"),
        (builder.header([], [builder.tensor("t", [2**32, 2**32])]), "4294967296 x 4294967296"),
        (builder.header([], [builder.tensor("t" * 65, [1])]), "65 bytes of text, more than the 64"),
    ],
)
def test_what_llama_cpp_refuses_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        read_header(write(tmp_path, data))


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    make_pipe(tmp_path / "pipe")

    with pytest.raises(IntegrityError, match="not a file at all"):
        read_header(tmp_path / "pipe")
