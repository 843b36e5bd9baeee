"""MLflow: an experiment with a run per model and version."""

from collections.abc import Sequence

from robustbench_wb.report.trackers.tracker import PROJECT, TrackedRun, library


def write_runs(runs: Sequence[TrackedRun], place: str | None) -> str:
    """Write runs to a tracking address such as ``sqlite:///mlflow.db`` or ``http://host:5000``."""
    mlflow = library("mlflow", "mlflow")
    if place is not None:
        mlflow.set_tracking_uri(place)
    mlflow.set_experiment(PROJECT)
    for run in runs:
        with mlflow.start_run(run_name=f"{run.name} v{run.step}"):
            mlflow.log_params(dict(run.parameters))
            mlflow.log_metrics(dict(run.metrics), step=run.step)
    return str(mlflow.get_tracking_uri())
