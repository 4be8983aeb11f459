"""The tree of errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun import errors
from localrun.errors import LocalrunError, all_errors

if TYPE_CHECKING:
    from tests.conftest import Golden


def own_errors() -> list[type[LocalrunError]]:
    """Return the classes of the module, without what tests and the server add."""
    return [kind for kind in all_errors() if kind.__module__ == errors.__name__]


def test_the_table_of_errors_is_as_documented(golden: Golden) -> None:
    rows = [f"{k.__name__:24}{k.exit_code:4}{k.http_status:6}  {k.code}" for k in own_errors()]

    golden("errors.txt", "\n".join(rows) + "\n")


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in own_errors()]

    assert len(codes) == len(set(codes))


def test_the_docstring_draws_every_class_with_its_exit_code() -> None:
    drawn = re.findall(r"(\w+Error) +(\d+)", errors.__doc__ or "")

    assert set(drawn) == {(kind.__name__, str(kind.exit_code)) for kind in own_errors()}


def test_an_error_keeps_message_hint_and_field() -> None:
    error = errors.UsageError("top_p is too large", hint="0 to 1", param="top_p")

    assert (str(error), error.hint, error.param) == ("top_p is too large", "0 to 1", "top_p")
