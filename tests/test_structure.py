"""Structure of the package: one meaning per class name, and packages that a reader can survey."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

import localrun

PACKAGE = Path(localrun.__file__).parent
MAX_FLAT_FILES = 20
# names that several modules may define, because each is the field's word in its own room
SHARED_CLASS_NAMES: dict[str, str] = {}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_a_class_name_has_one_meaning_in_the_package() -> None:
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for path in sources():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(str(path.relative_to(PACKAGE)))

    repeated = {name: found for name, found in modules.items() if len(found) > 1}

    assert {n: paths for n, paths in repeated.items() if n not in SHARED_CLASS_NAMES} == {}
    assert SHARED_CLASS_NAMES.keys() <= repeated.keys(), "an exception that is not needed any more"


def test_no_package_has_more_than_twenty_flat_files() -> None:
    counts = Counter(path.parent for path in sources() if path.name != "__init__.py")

    large = {
        str(folder.relative_to(PACKAGE)): n for folder, n in counts.items() if n > MAX_FLAT_FILES
    }

    assert large == {}
