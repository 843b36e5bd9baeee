"""A folder of photographs at 224 pixels, from JPEG files to robust accuracies: seconds, memory, and equal results.

    python benchmarks/imagenet_size.py --samples 1000 --folder /tmp/photographs

Writes generated JPEG photographs (a colour per class, with coarse patterns and noise) in class folders, for training
and for evaluation, and runs three things through the command line, each in a process of its own:

- ViT-Ti/16 of timm with random weights at 224 x 224 pixels;
- the same architecture for 64 x 64 pixels, trained adversarially for one epoch, so that something holds;
- both again with another batch size, and with another number of samples per job.

Suites: clean, PGD-40 at four radii, the quick ensemble, PGD of torchattacks, and the 15 corruptions. Prints wall
seconds and the largest resident memory of each command, the second start beside the time of the imports alone, and how
many outcomes differ between batch sizes and job sizes: none may. The same ``--folder`` resumes what was stopped.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pictures import IMPORTS, TIMM, measured
from PIL import Image
from rich.console import Console

MODEL = """
from robustbench_wb.models.providers.library import load_library

timm = load_library("timm", "timm")  # beside a torchvision without its compiled operators, too


def small(shape):
    size = {"img_size": shape.height, "patch_size": shape.height // 8, "num_classes": shape.classes}
    return timm.create_model("vit_tiny_patch16_224", **size)
"""
ATTACKS = (
    *(f"pgd-linf;eps={eps};steps=40" for eps in ("1/255", "2/255", "4/255", "8/255")),
    "quick-linf;eps=4/255",
    "torchattacks:PGD;eps=4/255;steps=10",
)
PROGRAM = ("-m", "robustbench_wb")
SMALL_JOBS = (
    "-c",
    "from robustbench_wb.engine import task_samples; task_samples.BATCH_BYTES = 1 << 24; "
    "from robustbench_wb.__main__ import main; main()",
)
"""The program with a sixteenth of the samples in a job."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One model at one size under one kind of stressors."""

    name: str
    task: str
    model: str
    recipe: str
    stressors: Sequence[str]
    """Signatures; empty: those of the corruption suite."""

    def arguments(self, samples: int) -> list[str]:
        """Arguments of the command ``run``."""
        suite = "adversarial" if self.stressors else "corruption"
        model = ["--variant", self.model, "--recipe", self.recipe, "--suite", suite]
        stressors = [word for signature in self.stressors for word in ("--stressor", signature)]
        return ["run", "--task", self.task, *model, *stressors, "--samples", str(samples), "--progress", "none"]


def write_photographs(folder: Path, *, per_class: int, megapixels: float, first: int) -> None:
    """JPEG files of quality 90, 4 to 3, in ten class folders: each class has a colour of its own."""
    size = round((megapixels * 1e6 * 4 / 3) ** 0.5), round((megapixels * 1e6 * 3 / 4) ** 0.5)
    colours = np.random.default_rng(0).uniform(60, 195, (10, 3))
    for label, colour in enumerate(colours):
        (folder / f"class{label}").mkdir(parents=True, exist_ok=True)
        for number in range(first, first + per_class):
            generator = np.random.default_rng((label, number))
            levels = colour + generator.normal(0, 40, (12, 16, 3)) + generator.normal(0, 25, 3)
            coarse = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
            grain = generator.normal(0, 6, (size[1], size[0], 1))
            picture = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"class{label}" / f"{number}.jpg", quality=90)


def differing(old: str, new: str) -> tuple[int, int]:
    """Number of samples with another outcome, and of compared cells, between two versions of the score table."""
    command = [sys.executable, "-m", "robustbench_wb", "diff", old, new, "--json"]
    pairs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["pairs"]
    return sum(pair["lost"] + pair["gained"] for pair in pairs), len(pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--megapixels", type=float, default=6.0)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--corrupted-samples", type=int, default=None, help="of the 15 corruptions; default: --samples")
    parser.add_argument("--compared-samples", type=int, default=100, help="evaluated again in other batches")
    parser.add_argument("--folder", type=Path, default=None, help="kept; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        evaluate(options, options.folder or Path(temporary))
    return 0


def evaluate(options: argparse.Namespace, place: Path) -> None:
    """Write the photographs and run everything."""
    console = Console(width=120)
    place.mkdir(parents=True, exist_ok=True)
    photographs, script = place / "photographs", place / "small_vit.py"
    script.write_text(MODEL, encoding="utf-8")
    for split, first in (("train", 0), ("val", options.per_class)):
        if not (photographs / split).is_dir():
            write_photographs(
                photographs / split, per_class=options.per_class, megapixels=options.megapixels, first=first
            )
    whole = {"task": f"folder:{photographs};size=224;resize=256", "recipe": "none"}
    whole |= {"model": TIMM}
    small = {"task": f"folder:{photographs};size=64;resize=72", "recipe": "pgd-at;epochs=1;batch=32"}
    small |= {"model": f"{script}:small"}
    parts = [
        Part(name="64 px, attacks", stressors=ATTACKS, **small),
        Part(name="224 px, attacks", stressors=ATTACKS, **whole),
        Part(name="64 px, corruptions", stressors=(), **small),
        Part(name="224 px, corruptions", stressors=(), **whole),
    ]
    environment = {**os.environ, "RBWB_CACHE_DIR": f"{place}/cache"}

    def run(
        part: Part, *, results: str, samples: int, more: Sequence[str] = (), program: Sequence[str] = PROGRAM
    ) -> tuple[float, float]:
        arguments = [*part.arguments(samples), "--results", f"{place}/{results}", *more]
        seconds, resident, _ = measured([*program, *arguments], environment)
        return seconds, resident

    seconds, memory, _ = measured(["-c", IMPORTS], environment)
    console.print(f"imports alone: {seconds:.1f} s, {memory:.2f} GB")
    for part in parts:
        samples = options.samples if part.stressors else options.corrupted_samples or options.samples
        seconds, memory = run(part, results="results", samples=samples)
        again, _ = run(part, results="results", samples=samples)
        console.print(f"{part.name}, {samples} samples: {seconds:.0f} s, {memory:.2f} GB; second start {again:.1f} s")
    for part in parts[:2]:
        samples = options.compared_samples
        run(part, results="batch-8", samples=samples, more=("--batch-size", "8"))
        run(part, results="batch-50", samples=samples, more=("--batch-size", "50"))
        run(part, results="jobs", samples=samples, more=("--batch-size", "8"), program=SMALL_JOBS)
        for other, what in (("batch-50", "batch sizes 8 and 50"), ("jobs", "jobs of 256 and 16 MB")):
            differ, cells = differing(f"{place}/batch-8", f"{place}/{other}")
            console.print(f"{part.name}, {samples} samples, {what}: {differ} outcomes differ in {cells} cells")


if __name__ == "__main__":
    sys.exit(main())
