"""The suite, on a meter that counts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from localrun.benchmarks.meter import Streamed
from localrun.benchmarks.suite import ModelControl, SuiteOptions, run_paired, run_suite

if TYPE_CHECKING:
    from localrun.benchmarks.meter import Meter


class Counted:
    """Measures nothing, and writes down what it was asked."""

    model = "m"

    def __init__(self, log: list[str], name: str = "here") -> None:
        self.log = log
        self.endpoint = self
        self.name = name
        self._number = 0

    def settle(self) -> None:
        self.log.append("settle")

    def prompt_rate(self, num: int) -> float:
        self.log.append(f"pp{num}")
        return float(num)

    def generation_rate(self, num: int) -> float:
        self.log.append(f"tg{num}")
        return 1.0

    def joint_rate(self, num_streams: int, num: int) -> float:
        self.log.append(f"tg{num} x{num_streams}")
        return 2.0

    def new_prompt(self, num: int) -> list[int]:
        self._number += 1
        return [self._number] * num

    def text_prompt(self, num: int) -> str:
        self._number += 1
        return f"{self._number} " * num

    def first_token_s(self, prompt: list[int] | None, _num: int) -> float:
        self.log.append(f"first {prompt[0] if prompt else 'new'}")
        return 0.5

    def image_first_token_s(self, _url: str) -> float:
        self.log.append("picture")
        return 0.7

    def joint_text_rate(self, prompts: list[str], num: int) -> float:
        self.log.append(f"{self.name} {prompts[0].split()[0]} x{len(prompts)} {num}")
        return 3.0

    def streamed_text(self, prompt: str, num: int) -> Streamed:
        self.log.append(f"{self.name} {prompt.split(maxsplit=1)[0]}")
        return Streamed(first_s=0.5, last_s=1.5, num_prompt=100, num_generated=num)


def control(log: list[str], num_ctx: int = 4096) -> ModelControl:
    def load() -> float:
        log.append("load")
        return 0.1

    return ModelControl(
        unload=lambda: log.append("unload"),
        load_s=load,
        memory_bytes=lambda: 10,
        num_ctx=num_ctx,
    )


def rows_of(options: SuiteOptions, num_ctx: int = 4096) -> tuple[dict[str, Any], list[str]]:
    log: list[str] = []
    meter = cast("Meter", Counted(log))
    rows = run_suite(meter, control(log, num_ctx), options, lambda *_: None)
    return {row.name: row for row in rows}, log


def test_each_figure_has_a_sample_of_each_round_but_the_first() -> None:
    rows, log = rows_of(SuiteOptions(rounds=5, parallel=(1, 4)))

    counts = Counter(log)
    assert len(rows["pp512"].samples) == 5
    assert counts["pp512"] == 6
    assert len(rows["load"].samples) == 3  # a load takes long
    assert set(rows) == {
        "load", "first token, cold", "first token, warm", "first token, cached", "pp128", "pp512",
        "pp2048", "tg128", "tg128 x4", "memory",
    }  # fmt: skip


def test_a_cached_prompt_is_the_one_before_it() -> None:
    _, log = rows_of(SuiteOptions(rounds=1))

    warm = log.index("first 1")
    assert log[warm - 1 : warm + 3] == ["settle", "first 1", "first 1", "settle"]
    assert log.count("first 2") == 2


def test_prompts_fit_the_context() -> None:
    rows, _ = rows_of(SuiteOptions(rounds=1), num_ctx=600)

    assert [name for name in rows if name.startswith("pp")] == ["pp128", "pp512", "pp598"]


def test_a_picture_is_asked_about_if_there_is_one() -> None:
    rows, _ = rows_of(SuiteOptions(rounds=2, image="data:"))

    assert rows["first token, picture"].samples == (0.7, 0.7)


def test_two_servers_take_turns_with_the_same_prompts() -> None:
    log: list[str] = []
    here, there = (cast("Meter", Counted(log, name)) for name in ("here", "there"))
    options = SuiteOptions(rounds=2, num_generated=11, prompts=(32, 512), parallel=(1, 2))

    rows = run_paired(here, there, options, lambda *_: None, num_ctx=600)

    words = [entry.split() for entry in log if entry != "settle"]
    assert [name for name, *_ in words[::3]] == [
        "there", "here", "here", "there", "there", "here"
    ]  # fmt: skip
    assert [rest for _, *rest in words[:3]] == [rest for _, *rest in words[3:6]]
    assert words[0][1] != words[6][1]  # another round has other prompts
    assert {row.name: (row.unit, len(row.first), row.ratio) for row in rows} == {
        "first token, 32 words": ("s", 2, 1.0),
        "prompt, 32 words": ("tokens/s", 2, 1.0),
        "tg11": ("tokens/s", 2, 1.0),
        "tg11 x2": ("tokens/s", 2, 1.0),
    }
