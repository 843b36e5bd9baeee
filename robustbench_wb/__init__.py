"""A robustness benchmarking harness for transformers.

Importing this package imports neither torch, pandas, numpy nor pydantic; each public name is loaded on first use. Verbs
that have the name of a subpackage are imported from their module: ``robustbench_wb.api.report``, ``api.layers``.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from robustbench_wb.imports import without_collection

CHANGES_NO_NUMBER: Final = "it only loads public names from other modules"

if TYPE_CHECKING:  # for type checkers and editors; at run time ``__getattr__`` loads the same names
    from robustbench_wb.analysis.compare.comparison import Comparison as Comparison
    from robustbench_wb.analysis.gate.gate_result import GateResult as GateResult
    from robustbench_wb.api.build import build as build
    from robustbench_wb.api.claims import claims as claims
    from robustbench_wb.api.compare import compare as compare
    from robustbench_wb.api.curves import curves as curves
    from robustbench_wb.api.doctor import doctor as doctor
    from robustbench_wb.api.evaluate import evaluate as evaluate
    from robustbench_wb.api.evaluation import Evaluation as Evaluation
    from robustbench_wb.api.explain import explain as explain
    from robustbench_wb.api.export import export_hf as export_hf
    from robustbench_wb.api.export import export_hf_results as export_hf_results
    from robustbench_wb.api.export import export_robustbench as export_robustbench
    from robustbench_wb.api.export import export_tracker as export_tracker
    from robustbench_wb.api.forecast import forecast as forecast
    from robustbench_wb.api.gate import gate as gate
    from robustbench_wb.api.history import history as history
    from robustbench_wb.api.leaderboard import leaderboard as leaderboard
    from robustbench_wb.api.merge import merge as merge
    from robustbench_wb.api.plan import plan as plan
    from robustbench_wb.api.repair import repair as repair
    from robustbench_wb.api.run import RunResult as RunResult
    from robustbench_wb.api.run import run as run
    from robustbench_wb.api.selfcheck import selfcheck as selfcheck
    from robustbench_wb.api.site import site as site
    from robustbench_wb.api.strength import strength as strength
    from robustbench_wb.api.train import train as train
    from robustbench_wb.api.vacuum import vacuum as vacuum
    from robustbench_wb.api.verify import verify as verify
    from robustbench_wb.engine.experiment import Experiment as Experiment
    from robustbench_wb.engine.experiment import read_experiment as read_experiment
    from robustbench_wb.engine.request import RunRequest as RunRequest
    from robustbench_wb.errors import HarnessError as HarnessError
    from robustbench_wb.errors import MeasurementError as MeasurementError
    from robustbench_wb.errors import UsageError as UsageError
    from robustbench_wb.models.shape import ImageShape as ImageShape
    from robustbench_wb.models.shape import TextShape as TextShape
    from robustbench_wb.models.sockets import Attention as Attention
    from robustbench_wb.models.variant import Variant as Variant
    from robustbench_wb.records.record import Record as Record
    from robustbench_wb.records.record import State as State
    from robustbench_wb.records.score_row import ScoreRow as ScoreRow
    from robustbench_wb.stressors.attacks.attack import Attack as Attack
    from robustbench_wb.stressors.attacks.pgd import PgdL2 as PgdL2
    from robustbench_wb.stressors.attacks.pgd import PgdLinf as PgdLinf
    from robustbench_wb.stressors.corruptions.corruption import Corruption as Corruption
    from robustbench_wb.stressors.stressor import Stressor as Stressor
    from robustbench_wb.tasks.task import Task as Task
else:

    def __getattr__(name: str) -> object:
        """Load a public name on first use (PEP 562).

        Raises:
            AttributeError: there is no such name.
        """
        if name in _DOOR:
            with without_collection():
                if _DOOR[name].startswith("stressors."):
                    import_module("robustbench_wb.stressors.construction").explain_errors()
                return getattr(import_module(f"robustbench_wb.{_DOOR[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = version("robustbench_wb")

_DOOR = {
    "Attack": "stressors.attacks.attack",
    "Attention": "models.sockets",
    "Comparison": "analysis.compare.comparison",
    "Corruption": "stressors.corruptions.corruption",
    "Evaluation": "api.evaluation",
    "Experiment": "engine.experiment",
    "GateResult": "analysis.gate.gate_result",
    "HarnessError": "errors",
    "ImageShape": "models.shape",
    "MeasurementError": "errors",
    "PgdL2": "stressors.attacks.pgd",
    "PgdLinf": "stressors.attacks.pgd",
    "Record": "records.record",
    "RunRequest": "engine.request",
    "RunResult": "api.run",
    "ScoreRow": "records.score_row",
    "State": "records.record",
    "Stressor": "stressors.stressor",
    "Task": "tasks.task",
    "TextShape": "models.shape",
    "UsageError": "errors",
    "Variant": "models.variant",
    "build": "api.build",
    "claims": "api.claims",
    "compare": "api.compare",
    "curves": "api.curves",
    "doctor": "api.doctor",
    "evaluate": "api.evaluate",
    "explain": "api.explain",
    "export_hf": "api.export",
    "export_hf_results": "api.export",
    "export_robustbench": "api.export",
    "export_tracker": "api.export",
    "forecast": "api.forecast",
    "gate": "api.gate",
    "history": "api.history",
    "leaderboard": "api.leaderboard",
    "merge": "api.merge",
    "plan": "api.plan",
    "read_experiment": "engine.experiment",
    "repair": "api.repair",
    "run": "api.run",
    "selfcheck": "api.selfcheck",
    "site": "api.site",
    "strength": "api.strength",
    "train": "api.train",
    "vacuum": "api.vacuum",
    "verify": "api.verify",
}
__all__ = ["__version__", *_DOOR]


def __dir__() -> list[str]:
    """Public names, for completion in an editor or a notebook."""
    return sorted(__all__)
