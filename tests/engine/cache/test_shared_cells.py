from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.cache.shared_cells import SharedCells

SLOTS = 5
acts = st.lists(
    st.tuples(
        st.sampled_from(["grow", "fork", "cut"]),
        st.integers(0, SLOTS - 1),
        st.integers(0, SLOTS - 1),
        st.integers(0, 20),
    ),
    max_size=40,
)


@given(acts)
def test_the_cells_of_any_forks_are_counted_once(acts: list[tuple[str, int, int, int]]) -> None:
    cells: dict[int, list[object]] = {slot: [] for slot in range(SLOTS)}
    overlaps = SharedCells()

    for act, slot, other, number in acts:
        if act == "grow":
            cells[slot] += [object() for _ in range(number)]
        elif act == "cut":
            del cells[slot][number:]
            overlaps.truncate(slot, number)
        elif slot != other:
            overlaps.truncate(other, 0)
            cells[other] = cells[slot][:number]
            overlaps.fork(slot, other, len(cells[other]))
        lengths = {slot: len(held) for slot, held in cells.items()}
        distinct = {id(cell) for held in cells.values() for cell in held}
        assert overlaps.num_distinct(lengths) == len(distinct)
        assert overlaps.num_shared(slot, other) == overlaps.num_shared(other, slot)
