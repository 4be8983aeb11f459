"""What the processes of the crash test do to a store, one function an operation.

To add one, write a function of `Work` and add it to OPERATIONS.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, NotFoundError, UsageError
from localrun.modelfile.recipe import Recipe
from localrun.names.parse import parse_name
from localrun.services.creating.create import create_model
from localrun.services.importing import import_path
from localrun.services.naming import copy_model, move_model, remove_model
from localrun.services.progress import SilentReport
from localrun.services.pulling.plan import PullPlan, make_plan
from localrun.services.pulling.pull import PullOptions, run_plan
from localrun.store.archive import export_model, import_archive
from localrun.store.garbage import PARTIAL_KEPT_S, collect_garbage

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from localrun.services.workspace import Workspace

REMOTE = tuple(f"hf.co/crash/{name}" for name in ("small", "large", "split", "plain"))
COPIES = ("copy-1", "copy-2")
LOCAL = (*COPIES, "imported", "unpacked", "created")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an operation works on, and its choices."""

    workspace: Workspace
    plans: Sequence[PullPlan]
    files: Path
    chance: random.Random

    @property
    def any_name(self) -> str:
        """Return the name of a model that may be here or not."""
        return self.chance.choice([*REMOTE, *LOCAL])


def make_plans(workspace: Workspace) -> list[PullPlan]:
    """Ask the hub once for everybody; under the first name lies another model, too."""
    plans = [make_plan(workspace, parse_name(name)) for name in REMOTE]
    return [*plans, replace(plans[2], ref=plans[0].ref)]


def pull(work: Work) -> None:
    run_plan(work.workspace, work.chance.choice(work.plans), PullOptions(), SilentReport())


def pull_large(work: Work) -> None:
    run_plan(work.workspace, work.plans[1], PullOptions(), SilentReport())


def import_file(work: Work) -> None:
    path = work.chance.choice(sorted(work.files.iterdir()))
    import_path(work.workspace, path, parse_name("imported"), SilentReport(), is_forced=True)


def copy(work: Work) -> None:
    target = work.chance.choice(COPIES)
    with suppress(NotFoundError):
        copy_model(work.workspace, parse_name(work.any_name), parse_name(target))


def move(work: Work) -> None:
    target = work.chance.choice(COPIES)
    with suppress(NotFoundError):
        move_model(work.workspace, parse_name(work.any_name), parse_name(target))


def create(work: Work) -> None:
    """Make a model from a file or, by one of the names here, from another model."""
    files = [f"./{path.name}" for path in sorted(work.files.iterdir())]
    source = work.chance.choice([*files, *LOCAL])
    recipe = Recipe(
        sources=(source,),
        system=work.chance.choice([None, "Be short."]),
        licenses=("Do what you like.",),
        parameters=(("seed", work.chance.randrange(3)),),
    )
    try:
        create_model(work.workspace, parse_name("created"), recipe, folder=work.files)
    except NotFoundError:
        return
    except UsageError as error:  # its source went and came back between two looks
        if "has no origin to pull from" not in error.message:
            raise


def remove(work: Work) -> None:
    with suppress(NotFoundError):
        remove_model(work.workspace, parse_name(work.any_name))


def prune(work: Work) -> None:
    collect_garbage(work.workspace.store, partial_kept_s=work.chance.choice([0.0, PARTIAL_KEPT_S]))


def pack(work: Work) -> None:
    """Export a model into an archive that is not of the store, and import that."""
    store, ref = work.workspace.store, parse_name(work.any_name)
    archive = work.files.with_name(f"archive-{os.getpid()}.tar")
    entry = store.find(ref)
    if entry is None:
        return
    try:
        with archive.open("wb") as out:
            export_model(store, entry, out)
        with archive.open("rb") as source:
            import_archive(store, source, name=parse_name("unpacked"), is_forced=True)
    except IntegrityError:
        if store.find(ref) == entry:  # else it was removed meanwhile
            raise
    finally:
        archive.unlink()


def look(work: Work) -> None:
    """Do what ``list`` and ``run`` begin with."""
    work.workspace.models.list_models()
    with suppress(NotFoundError):
        work.workspace.models.find_model(work.any_name)


OPERATIONS: Mapping[str, Callable[[Work], None]] = {
    "pull": pull,
    "pull large": pull_large,
    "import": import_file,
    "cp": copy,
    "mv": move,
    "create": create,
    "rm": remove,
    "prune": prune,
    "pack": pack,
    "look": look,
}
