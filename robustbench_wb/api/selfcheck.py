"""``selfcheck``: how far numbers move when nothing that matters changes."""

from typing import Unpack

from robustbench_wb.analysis.gate.noise_floor import NoiseFloor, noise_floor_of
from robustbench_wb.api.request import RequestFields, make_request
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.selfcheck import selfcheck_runs
from robustbench_wb.progress import Progress, SilentProgress


def selfcheck(
    request: RunRequest | None = None,
    *,
    times: int = 3,
    retrain: bool = False,
    progress: Progress | None = None,
    **fields: Unpack[RequestFields],
) -> NoiseFloor:
    """Measure every cell of a request several times, with other batches, threads and order; write nothing.

    Args:
        request: as for ``robustbench_wb.run``; or pass its fields as keywords.
        times: number of measurements, 2 or more.
        retrain: train the models anew for each measurement.
        progress: told what is done.
        **fields: see ``robustbench_wb.RunRequest``.

    Raises:
        UsageError: the request or the data cannot be used.
    """
    wanted = make_request(request, fields)
    runs = selfcheck_runs(wanted, times=times, progress=progress or SilentProgress(), retrain=retrain)
    return noise_floor_of(runs, retrain)
