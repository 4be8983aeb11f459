from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.hardware.report import read_report, write_line
from tests.hardware.making import card, cpu, gpu, igpu

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["devices", "cards", "unloaded", "failed", "kind"]), inner
        )
    ),
    max_leaves=8,
)


def test_what_was_written_is_read_again() -> None:
    devices = [gpu("CUDA", unit_id="0000:01:00.0", driver="580.1"), igpu("Vulkan"), cpu()]
    lines = write_line(devices=devices) + write_line(unloaded={"cuda": "why"})
    lines += write_line(cards=[card()]) + write_line(cards=[card(source="pci", cuda="13.0")])

    report = read_report(lines)

    assert report.devices == devices
    assert report.cards == [card(), card(source="pci", cuda="13.0")]
    assert report.unloaded == {"cuda": "why"}


def test_lines_of_another_form_are_left_out() -> None:
    good = write_line(devices=[cpu()])
    bad = '{"devices": [{"backend": "CUDA"}, {"backend": 1, "kind": "gpu"}, "x"]}\n'

    assert read_report(
        "warning: no\n[]\n" + good + '{"cards": 1}\n{"cards": [{"maker": []}]}'
    ).devices == [cpu()]
    assert read_report(bad).devices == []
    assert read_report("").devices is None


@given(st.lists(JSON, max_size=3))
def test_no_line_makes_the_reader_fail(values: list[object]) -> None:
    import json

    report = read_report("\n".join(json.dumps(value) for value in values))

    assert all(device.name for device in report.devices or [])
