from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.analysis.broken_samples import broken_samples
from robustbench_wb.records.record import Record, State
from tests.store.make import record

STATES = st.lists(st.sampled_from([0, 1, 2, 3, 4]), min_size=1, max_size=8)


def shifted(states: list[int], first: int) -> Record:
    made = record(states)
    return replace(made, ids=np.arange(first, first + len(states), dtype=np.int32))


@given(st.lists(st.tuples(STATES, st.integers(0, 4)), max_size=4))
def test_broken_samples_are_those_of_each_record(cells: list[tuple[list[int], int]]) -> None:
    records = [shifted(*cell) for cell in cells]
    broken = set()
    for at, one in enumerate(records):
        broken |= {(int(one.ids[place]), at) for place in range(len(one.ids)) if one.states[place] == State.BROKEN}
    found = broken_samples(records)
    assert {(one.sample, at) for one in found for at in one.models} == broken
    assert [(len(one.models), one.sample) for one in found] == sorted((len(one.models), one.sample) for one in found)
