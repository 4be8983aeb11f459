"""Random recipes, for the property that what ``show`` prints makes the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from localrun.modelfile.known import PARAMETERS, ParameterSpec
from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage

if TYPE_CHECKING:
    from localrun.modelfile.parameters import ParameterValue

AWKWARD = [
    '"', '""', '"""', "\n", "\r\n", " ", "\\", "#", "FROM x", "${a}",
    "\u00a0\u3000", "\U0001f469\u200d\U0001f52c",
]  # fmt: skip
TEXTS = st.lists(
    st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(exclude_categories=["Cs"]))),
    max_size=6,
).map(lambda pieces: "".join(pieces).replace("\0", ""))
SAID = TEXTS.filter(bool)  # an empty text says nothing
JINJA = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0{}%#"), min_size=1)


def recipes(source: str, adapter: str) -> st.SearchStrategy[Recipe]:
    """Return recipes with a base, and maybe an adapter that fits it."""
    return st.builds(
        Recipe,
        sources=st.just((source,)),
        adapters=st.lists(
            st.builds(AdapterUse, path=st.just(adapter), scale=st.floats(-2, 2)), max_size=2
        ).map(tuple),
        template=st.none() | JINJA,
        system=st.none() | SAID,
        licenses=st.lists(SAID, max_size=2, unique=True).map(tuple),
        messages=st.lists(
            st.builds(
                RecipeMessage, role=st.sampled_from(["system", "user", "assistant"]), content=SAID
            ),
            max_size=3,
        ).map(tuple),
        parameters=parameters(),
        renderer=st.none() | st.just("qwen3"),
        parser=st.none() | st.just("qwen3"),
        requires=st.none() | st.just("0.14.0"),
    )


@st.composite
def parameters(draw: st.DrawFn) -> tuple[tuple[str, ParameterValue], ...]:
    """Return parameters in any order; lists repeat."""
    usable = [known for known in PARAMETERS if not (known.deprecated or known.removed)]
    chosen = draw(st.lists(st.sampled_from(usable), max_size=6, unique_by=lambda one: one.name))
    pairs: list[tuple[str, ParameterValue]] = []
    for known in chosen:
        count = draw(st.integers(1, 3)) if known.kind == "list" else 1
        pairs += [(known.name, draw(values(known))) for _ in range(count)]
    return tuple(pairs)


def values(known: ParameterSpec) -> st.SearchStrategy[ParameterValue]:
    """Return values that a parameter takes."""
    low, high = max(known.low, -(2**31)), min(known.high, 2**31)
    if known.kind == "int":
        return st.integers(int(low), int(high))
    if known.kind == "float":
        return st.floats(low, high).map(lambda value: value + 0.0)  # -0.0 is 0.0
    if known.kind == "bool":
        return st.booleans()
    if known.kind == "enum":
        return st.sampled_from(known.choices)
    if known.kind == "duration":
        return st.sampled_from(["10m", "1h30m", "-1", "0"])
    return SAID
