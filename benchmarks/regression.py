"""Regression gate of this project on itself: committed checkpoints, measured by today's code, against a baseline.

    nox -s gate              exit code 1 if a model has lost more than the margin, as of `robustbench-wb gate`
    nox -s gate -- --pin     after an intended change: pin what today's code measures, and commit it

The weights are given, so that training, whose rounding differs between processors, has no part in the result. Models
are small (width 32, two blocks) and see the embedded digits. --train makes the checkpoints anew, and pins.
"""

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from safetensors.torch import save_file

from robustbench_wb import gate, run
from robustbench_wb.api.gate import pin
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import HarnessError
from robustbench_wb.models.weights import weights_of
from robustbench_wb.progress import SilentProgress
from robustbench_wb.report.gate import gate_blocks
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.training.checkpoint import untied_copies

HERE = Path("results/regression")  # relative, because requests are published with the baseline
SIZE = "width=32;depth=2;heads=2;dim_head=16"
MODELS = (
    *("vit", "crate", "crate-alpha", "bilateral", "boosting", "twicing", "neutreno", "elliptical", "rpc"),
    *("robust-kde-huber", "tupe", "rope"),
)
MARGIN = 2.0
"""Accepted drop in points: seven of 360 samples, more than processors that round differently move."""


def request(model: str, **more: object) -> RunRequest:
    """The request of one model, on the CPU."""
    fields = {
        "suite": str(HERE / "suite.toml"),
        "tasks": ("digits",),
        "variants": (f"{model};{SIZE}",),
        "device": "cpu",
    }
    return RunRequest.model_validate({**fields, **more})


def train() -> None:
    """Train all models and write their weights."""
    for model in MODELS:
        job = PreparedRun(request(model), SilentProgress())
        trained = job.obtain(job.plan.tasks[0].subjects[0], job.datasets[0])
        save_file(untied_copies(weights_of(trained.model)), HERE / f"{model}.safetensors")
        print(f"trained {model}", flush=True)


def measure(results: str) -> None:
    """Measure all checkpoints; the last version of the results has the rows of all of them."""
    for model in MODELS:
        run(request(model, checkpoint=str(HERE / f"{model}.safetensors")), results, command="nox -s gate")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pin", action="store_true", help="replace the baseline with what today's code measures")
    parser.add_argument("--train", action="store_true", help="train the checkpoints anew, and replace the baseline")
    parser.add_argument("--results", metavar="FOLDER", help="keep evaluations there, and reuse them; default: none")
    given = parser.parse_args()
    baseline = HERE / "baseline.parquet"
    try:
        if given.train:
            train()
        with nullcontext(given.results) if given.results else tempfile.TemporaryDirectory() as results:
            measure(results)
            if given.pin or given.train:
                baseline.unlink(missing_ok=True)
                print(f"pinned {pin('regression', results=results, to=str(baseline))}; commit it")
                return 0
            judged = gate(str(baseline), results=results, margin=MARGIN)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(plain_text(gate_blocks(judged)))
    return judged.exit_code


if __name__ == "__main__":
    sys.exit(main())
