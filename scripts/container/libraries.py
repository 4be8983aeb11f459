"""Libraries of Debian packages that the image needs: the closure of what the linker would load.

Only files that something loads are taken, each at its place in Debian and with its links, so that
the dynamic linker finds them without a cache. A library that nobody has is an error, except those
that a driver on the host brings into the container.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import elf
import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from container.debian import PackageFile

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
FROM_THE_HOST = ("libcuda.so.", "libnvidia-", "libamdhip64.so.", "libhsa-runtime64.so.")
# opened by name, or by programs linked with an older glibc; small
OF_GLIBC = (
    "libc.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libgcc_s.so.1",
)


class Libraries:
    """The files of some packages, by path, and the libraries among them by name."""

    def __init__(self, files: Mapping[str, PackageFile], architecture: str) -> None:
        self._files = files
        folder = f"usr/lib/{TRIPLETS[architecture]}"
        self._by_name = {
            posixpath.basename(path): path for path in files if posixpath.dirname(path) == folder
        }

    def closure(
        self, names: Iterable[tuple[str, str]], own: frozenset[str]
    ) -> dict[str, PackageFile]:
        """Return the files, by path, that (library, who needs it) load, and what these load.

        ``own`` are libraries that the program brings.

        Raises:
            SetupError: a library is in none of the packages.
        """
        taken: dict[str, PackageFile] = {}
        queue, seen = list(names), set[str]()
        while queue:
            name, user = queue.pop()
            if name in seen or name.startswith(FROM_THE_HOST):
                continue
            seen.add(name)
            if name not in self._by_name and name in own:
                continue  # in another folder, and opened by its path
            if name not in self._by_name:
                raise environment.SetupError(
                    f"{user} needs {name}, which no package of the image has\n"
                    "hint: add the package to container/debian.py, then scripts/lock"
                )
            taken |= self.with_links(self._by_name[name])
            target = self._files[self._end(self._by_name[name])]
            facts = elf.parse(target.content)
            queue += [(needed, name) for needed in facts.needed] if facts else []
        return taken

    def with_links(self, path: str) -> dict[str, PackageFile]:
        """Return the file that is meant by a path, after the links that lead to it."""
        file = self._files[path]
        following = self.with_links(_followed(file)) if file.link is not None else {}
        return {path: file, **following}

    def _end(self, path: str) -> str:
        return list(self.with_links(path))[-1]


def _followed(file: PackageFile) -> str:
    """Return the path that a link leads to."""
    link = file.link or ""
    if link.startswith("/"):
        return link.strip("/")
    return posixpath.normpath(posixpath.join(posixpath.dirname(file.path), link))
