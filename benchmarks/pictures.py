"""Cost of a folder of photographs: seconds and peak memory of the first and the second start.

    python benchmarks/pictures.py --classes 10 --per-class 100 --megapixels 12 --samples 1000
    python benchmarks/pictures.py --classes 10 --per-class 1000 --megapixels 0.06 --samples 10000 --model none

Writes smooth random JPEG photographs into a temporary folder, and evaluates a model on them twice, in new processes
with an empty cache at first: suite ``clean``, 224 x 224 pixels. The model is a small one of timm with random weights,
or, with ``--model none``, a single linear layer, so that what remains is the harness. ``--train`` trains that layer for
one epoch on the same pictures instead.

Prints per start the wall seconds, the processor seconds, the largest resident memory of any one process, and the
largest anonymous memory of all processes together. Resident memory counts the pages of mapped files that the system has
not dropped yet; anonymous memory does not. An empty run of the interpreter with all imports is printed for comparison.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

TIMM = "timm:vit_tiny_patch16_224;pretrained=false"
GEOMETRY = ";size=224;resize=248;interpolation=bicubic"
LINEAR = """
from torch import nn

def make(shape):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, shape.classes))
"""
IMPORTS = "from robustbench_wb.models.providers.library import load_library as load; load('timm', 'timm')"
DISTINCT = 20
"""Photographs that are encoded; the others are copies with another end, which are read and decoded like any file."""
INTERVAL = 0.5
"""Seconds between two looks at the memory."""


def write_photographs(folder: Path, *, classes: int, per_class: int, megapixels: float) -> None:
    """JPEG files of quality 90 with the given number of pixels, 4 to 3, in class folders."""
    size = round((megapixels * 1e6 * 4 / 3) ** 0.5), round((megapixels * 1e6 * 3 / 4) ** 0.5)
    generator = np.random.default_rng(0)
    written: list[Path] = []
    for number in range(classes * per_class):
        path = folder / f"class{number % classes}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(written) < DISTINCT:
            levels = generator.integers(0, 256, (60 + number, 80, 3), np.uint8)
            Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
            written.append(path)
        else:
            shutil.copyfile(written[number % DISTINCT], path)
            with path.open("ab") as file:
                file.write(str(number).encode())


class Memory(threading.Thread):
    """Largest anonymous memory (bytes) of a process and all processes below it, looked at while it runs."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.largest, self.ended = process, 0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(INTERVAL):
            self.largest = max(self.largest, sum(map(self._anonymous, self._family())))

    def _family(self) -> list[int]:
        parents: dict[int, int] = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):  # it has just ended
                continue
        found = [self.process]
        for parent in found:  # grows while it is walked
            found += [child for child, above in parents.items() if above == parent]
        return found

    @staticmethod
    def _anonymous(process: int) -> int:
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            return 0
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a command took."""

    wall: float
    """Seconds."""
    processor: float
    """Seconds of processor time of the process and those that it started and waited for."""
    resident: float
    """Largest resident memory of any one process (GB)."""
    anonymous: float
    """Largest anonymous memory of all processes together (GB)."""

    def __str__(self) -> str:
        seconds = f"{self.wall:.1f} s ({self.processor:.1f} s of processor time)"
        return f"{seconds}, largest process {self.resident:.2f} GB, anonymous of all {self.anonymous:.2f} GB"


def measured(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a command of the interpreter, and measure what it took.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL)
    memory = Memory(process.pid)
    memory.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    memory.ended.set()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(
        wall=wall,
        processor=usage.ru_utime + usage.ru_stime,
        resident=usage.ru_maxrss / 1e6,
        anonymous=memory.largest / 1e9,
    )


def run_command(place: Path, photographs: Path, options: argparse.Namespace) -> list[str]:
    """Arguments of the interpreter for one run, which tables and cache of ``place`` serve."""
    model = TIMM
    if options.model == "none" or options.train:
        (place / "linear.py").write_text(LINEAR)
        model = f"{place / 'linear.py'}:make"
    if options.train:
        (place / "splits").mkdir()
        for split in ("train", "val"):
            (place / "splits" / split).symlink_to(photographs)
        photographs = place / "splits"
    count = options.classes * options.per_class
    recipe = f"standard;epochs=1;train_samples={count}" if options.train else "none"
    run = ["-m", "robustbench_wb", "run", "--task", f"folder:{photographs}{GEOMETRY}", "--variant", model]
    run += ["--recipe", recipe, "--suite", "clean", "--samples", str(options.samples)]
    return [*run, "--results", str(place / "results")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--megapixels", type=float, default=6.0)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--model", choices=("timm", "none"), default="timm")
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_photographs(
            place / "photographs", classes=options.classes, per_class=options.per_class, megapixels=options.megapixels
        )
        environment = {**os.environ, "RBWB_CACHE_DIR": str(place / "cache")}
        run = run_command(place, place / "photographs", options)
        console.print(f"{options.classes * options.per_class} photographs of {options.megapixels:g} megapixels")
        for name, command in (("imports", ["-c", IMPORTS]), ("first start", run), ("second start", run)):
            console.print(f"{name}: {measured(command, environment)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
