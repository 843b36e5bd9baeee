"""``run --plan``: what an experiment would train and evaluate, with seconds and memory, before anything is spent."""

from typing import Unpack

from robustbench_wb.analysis.gate.margins import read_margins
from robustbench_wb.analysis.gate.sample_plan import with_detectable
from robustbench_wb.api.request import ExperimentFields, make_experiment
from robustbench_wb.api.stored_discordance import find_discordance
from robustbench_wb.engine.experiment import Experiment
from robustbench_wb.engine.forecast_runs import forecast_runs
from robustbench_wb.engine.prepared_run import prepare_experiment
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.run_forecast import RunForecast
from robustbench_wb.store.record_store import RecordStore


def forecast(
    request: RunRequest | Experiment | None = None,
    results: str = "results",
    *,
    progress: Progress | None = None,
    **fields: Unpack[ExperimentFields],
) -> RunForecast:
    """Forecast a run: its parts with seconds, memory and minimum detectable effect. Nothing is trained or written.

    The data are loaded, and each model is built and timed on a few samples. Stored records and models in the cache,
    which the run would reuse, cost nothing. The minimum detectable effect is that of a gate with the margins of
    ``pyproject.toml``; the latest version says how many samples change without a drop.

    Args:
        request: as for ``robustbench_wb.run``; or pass its fields as keywords.
        results: folder or Delta URL where results live; it need not exist.
        progress: told what is done.
        **fields: see ``robustbench_wb.run``.

    Raises:
        UsageError: the request or the data cannot be used.
        StoreError: the store cannot be read.
    """
    shown = progress or SilentProgress()
    runs = prepare_experiment(make_experiment(request, fields), shown, may_train=False)
    found = find_discordance(results)
    forecast = forecast_runs(runs, RecordStore(results), shown)
    return with_detectable(forecast, read_margins(), found)
