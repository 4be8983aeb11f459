"""Patterns of tensor names match whole parts, and fill what stands for a number."""

from __future__ import annotations

import pytest

from localrun.errors import IntegrityError
from localrun.gguf.header import GgufTensor, Header
from localrun.translation.patterns import count_numbers, match, numbers_of, renamed


def header_of(*names: str, **metadata: list[int]) -> Header:
    keys = {key.replace("__", "."): value for key, value in metadata.items()}
    tensors = {name: GgufTensor((4, 4), 0, 0) for name in names}
    return Header({key: list(value) for key, value in keys.items()}, tensors, 0)


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("token_embd.weight", "token_embd.weight", True),
        ("token_embd.weight", "v.token_embd.weight", False),
        ("v.norm.", "v.norm.weight", True),
        ("v.norm.", "v.norm1.weight", False),
        (".ssm_dt", "blk.0.ssm_dt", True),
        (".ssm_dt", "blk.0.ssm_dt.bias", False),
        (".attn_out.", "blk.11.attn_out.weight", True),
        (".attn_out.", "blk.11.attn_output.weight", False),
        ("v.blk.*.attn_q.", "v.blk.27.attn_q.bias", True),
        ("v.blk.*.attn_q.", "v.blk.x.attn_q.bias", False),
    ],
)
def test_dots_say_which_part_of_a_name_matches(pattern: str, name: str, is_match: bool) -> None:  # noqa: FBT001 - a case
    assert (match(pattern, name) is not None) == is_match


def test_a_number_is_kept_moved_behind_the_layers_or_looked_up() -> None:
    numbers = numbers_of(header_of("blk.0.a", "blk.3.a", some__places=[8, 16]))

    assert renamed("a.*.x", "b.{*}.y", "a.7.x", numbers) == "b.7.y"
    assert renamed("mtp.*.", "blk.{+}.", "mtp.1.norm", numbers) == "blk.5.norm"
    assert renamed("mtp.fc", "blk.{+}.fc", "mtp.fc", numbers) == "blk.4.fc"
    assert renamed("d.*.", "e.{some.places}.", "d.1.fc", numbers) == "e.16.fc"
    assert renamed("d.*.", "e.{*}.", "other", numbers) == "other"


@pytest.mark.parametrize("number", [2, 999999])
def test_a_number_without_an_item_is_refused(number: int) -> None:
    numbers = numbers_of(header_of(some__places=[8, 16]))

    with pytest.raises(IntegrityError, match=f"no item {number}"):
        renamed("d.*.", "e.{some.places}.", f"d.{number}.fc", numbers)


def test_numbers_are_counted_up_to_the_largest() -> None:
    assert count_numbers(header_of("mtp.layers.0.x", "mtp.layers.2.x"), "mtp.layers.*.") == 3
    assert count_numbers(header_of("mtp.fc.weight"), "mtp.layers.*.") == 0
