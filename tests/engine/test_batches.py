"""Batch size is no part of a result: on digits, not one sample state differs, for the most fragile models too."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from robustbench_wb.api import run as harness
from robustbench_wb.engine.batch import ENOUGH
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.store.record_store import RecordStore
from tests.conftest import MainJob


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["bilateral-boosting", "vit", "crate"])
def test_a_whole_suite_has_equal_states_at_every_batch_size(variant: str, tmp_path: Path, main_job: MainJob) -> None:
    # The main job has measured the same cells, in batches of 256 on a CPU: they are found there, or measured here.
    assert ENOUGH == 256
    shutil.copytree(main_job.folder / "results" / "records", tmp_path / "256" / "records")
    reports = {
        batch: harness.run(RunRequest(variants=(variant,), batch=batch, device="cpu"), str(tmp_path / str(batch)))
        for batch in (256, 48)
    }
    keys = [row.key for row in reports[256].rows]
    assert keys == [row.key for row in reports[48].rows]
    assert len(keys) == 22
    found = {batch: RecordStore(str(tmp_path / str(batch))).find(keys) for batch in reports}
    for key in keys:
        np.testing.assert_array_equal(found[256][key].states, found[48][key].states)
    assert all(row.wobble == 0 for report in reports.values() for row in report.rows)
