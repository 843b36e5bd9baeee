"""``train``: train the models of a request without measuring them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from robustbench_wb.api.request import ExperimentFields, make_experiment
from robustbench_wb.engine.experiment import Experiment
from robustbench_wb.engine.prepared_run import prepare_experiment
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.train import TrainedSubject, train_subjects
from robustbench_wb.errors import ExitCode
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.shared_cache import try_shared_cache

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Models of a request, trained now or found in the cache."""

    subjects: tuple[TrainedSubject, ...]
    """One per task, variant, recipe and seed; a model that cannot be built or diverges has an error."""

    @property
    def exit_code(self) -> ExitCode:
        """``INCOMPLETE`` if a model failed, else ``OK``."""
        return ExitCode.INCOMPLETE if any(subject.error for subject in self.subjects) else ExitCode.OK

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per model."""
        return to_frame(
            {**columns(subject, ("card",)), **({} if subject.card is None else columns(subject.card))}
            for subject in self.subjects
        )


def train(
    request: RunRequest | Experiment | None = None,
    *,
    progress: Progress | None = None,
    **fields: Unpack[ExperimentFields],
) -> TrainResult:
    """Train every model of a request that is not in the cache yet; measure nothing.

    Args:
        request: as for ``robustbench_wb.run``; or pass its fields as keywords.
        progress: told what is done.
        **fields: see ``robustbench_wb.run``.

    Raises:
        UsageError: the request, the data or the shared cache cannot be used.
    """
    try_shared_cache()
    jobs = prepare_experiment(make_experiment(request, fields), progress or SilentProgress())
    return TrainResult(subjects=tuple(train_subjects(jobs)))
