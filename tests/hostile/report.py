"""The table of fields, sizes and delays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hostile.repetitions import KB, MB, SIZES

if TYPE_CHECKING:
    from tests.hostile.meter import Cost

MS = 1000


class Report:
    """What was measured, by field and size; the worst value of a field counts."""

    def __init__(self) -> None:
        self._worst: dict[tuple[str, int], tuple[str, Cost]] = {}

    def add(self, place: str, value: str, size: int, cost: Cost) -> None:
        worst = self._worst.get((place, size))
        if worst is None or worst[1].stall_s < cost.stall_s:
            self._worst[place, size] = value, cost

    def table(self) -> str:
        """Return the table: of each size the stall, the delay of /healthz and the work, in ms."""
        heads = [f"{_short(size)} stall/delay/work" for size in SIZES]
        lines = [f"{'field':64} " + " ".join(f"{head:>22}" for head in heads) + "  worst value"]
        for place in dict.fromkeys(place for place, _ in self._worst):
            found = [self._worst.get((place, size)) for size in SIZES]
            worst = [value for value, _ in filter(None, found)]
            cells = " ".join(f"{_cell(one):>22}" for one in found)
            lines.append(f"{place:64.64} {cells}  {worst[-1]}")
        return "\n".join(lines)


def _cell(found: tuple[str, Cost] | None) -> str:
    if found is None:
        return "-"
    cost = found[1]
    return f"{cost.stall_s * MS:.0f}/{cost.delay_s * MS:.0f}/{cost.work_s * MS:.0f}"


def _short(size: int) -> str:
    return f"{size // MB} MB" if size >= MB else f"{size // KB} KB"
