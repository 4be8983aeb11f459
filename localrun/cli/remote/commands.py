"""``localrun remote``: models that engines elsewhere answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.remote.adding import remote_add
from localrun.cli.remote.listing import remote_list
from localrun.cli.remote.removing import remote_remove
from localrun.cli.remote.testing import remote_test

if TYPE_CHECKING:
    from collections.abc import Callable

ABOUT_REMOTE = "Add, list, test and remove models that another engine answers."
REMOTE_COMMANDS: dict[str, Callable[..., None]] = {
    "add": remote_add,
    "list": remote_list,
    "test": remote_test,
    "rm": remote_remove,
}
