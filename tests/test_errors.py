from __future__ import annotations

from typing import TYPE_CHECKING

from localrun import errors

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_table_of_exit_codes_is_the_kept_one(golden: Callable[[str, str], None]) -> None:
    rows = [
        f"{kind.exit_code} {kind.http_status} {kind.code} {kind.__name__}"
        for kind in errors.all_errors()
    ]

    golden("errors.txt", "\n".join(sorted(rows)) + "\n")


def test_the_drawing_of_the_tree_names_every_class_with_its_exit_code() -> None:
    drawn = {
        line.split("|- ")[-1].split("`- ")[-1].split()[0]: line.split()
        for line in (errors.__doc__ or "").splitlines()
        if "Error" in line
    }

    for kind in errors.all_errors():
        assert str(kind.exit_code) in drawn[kind.__name__], kind


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in errors.all_errors()]

    assert len(codes) == len(set(codes))
