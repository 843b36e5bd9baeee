"""All side-by-side measurements of speed in one go, written to docs/performance.md.

    nox -s bench                 # about half an hour; the machine should have nothing else to do
    nox -s bench -- --quick      # a few turns on small sizes, printed and not written
    nox -s bench -- --only diff  # one part, printed and not written

Each part is a script of this folder, which can be run alone with other sizes. Its tables are copied as they are
printed. A part whose other library is not installed says so.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "performance.md"


@dataclass(frozen=True)
class Part:
    """One script, with what it shows."""

    script: str
    title: str
    meaning: str
    options: Sequence[str] = ()
    quick: Sequence[str] = ()
    """Options of ``--quick``, beside or instead of the others."""

    @property
    def name(self) -> str:
        """Name of the part, that of its script."""
        return self.script.removesuffix(".py")


_MAIN = [word for name in ("crate", "bilateral", "boosting", "bilateral-boosting") for word in ("--variant", name)]
"""Variants of the suites' defaults; docs/variants has the times of all."""
PARTS = (
    Part(
        "attacks.py",
        "Attacks against other libraries",
        "PGD of this package, torchattacks, foolbox and ART: same model, samples and settings. The ratio is the time of"
        " the other library by ours: above 1, ours is faster. Robust accuracies are ranges over the turns.",
        ("--threads", "1", "--repeats", "3"),
        ("--repeats", "1", "--recipe", "standard", "--samples", "40"),
    ),
    Part(
        "strong.py",
        "Ensembles of attacks against each other",
        "Robust accuracy, samples broken of those that any ensemble breaks, with 95 % Wilson intervals, and passes.",
        ("--samples", "30"),
        ("--samples", "20", "--model", "MLP, ReLU", "--norm", "l2"),
    ),
    Part(
        "corruptions.py",
        "Corruptions against imagecorruptions",
        "Images per second with the constants of ImageNet-C, one thread each. Above 1, ours is faster.",
        ("--side", "32", "--side", "224"),
        ("--only", "jpeg-compression", "--seconds", "0.05", "--repeats", "1"),
    ),
    Part(
        "bare_loop.py",
        "An evaluation against a bare loop",
        "What the harness costs by itself, where there is no attack. 1 would be free.",
        ("--samples", "1024", "--turns", "3"),
        ("--samples", "256", "--turns", "1"),
    ),
    Part("startup.py", "Start-up", "Short commands against a process that only imports torch.", (), ("--turns", "1")),
    Part(
        "variants.py",
        "Variants against vit",
        "Forward and backward time at equal width, depth and heads.",
        ("--width", "64", "--heads", "4", "--repeats", "5", *_MAIN),
        ("--repeats", "2", "--variant", "crate"),
    ),
    Part("precision.py", "Gradients in bfloat16 against float32", "Above 1, bfloat16 is faster on this processor."),
    Part(
        "diff.py",
        "Comparison of two tables",
        "Reading both tables with all outcomes, checking their digests, comparing them.",
        (),
        ("--cells", "10", "--samples", "100", "--turns", "1"),
    ),
    Part(
        "big_table.py",
        "A table of many outcomes",
        "Appending, finding, ranking and comparing; docs/scale.md has the figures of a table of 20,000 evaluations.",
        ("--models", "10", "--cells", "100", "--samples", "10000"),
        ("--models", "2", "--cells", "5", "--samples", "50"),
    ),
)


def machine() -> str:
    """Processor, cores, Python and torch of this machine."""
    model = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        names = [line for line in cpu.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    cores = os.cpu_count()
    return f"{model}, {cores} cores, Python {platform.python_version()}, torch {version('torch')}"


def load() -> str:
    """What else the machine does."""
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"


def measure(part: Part, options: Sequence[str]) -> str:
    """Run a part and return what it prints."""
    command = [sys.executable, str(FOLDER / part.script), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER.parent)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return f"Not measured here: `{reason}`"
    shown = done.stdout.strip()
    return shown.replace("\n## ", "\n### ") if "|---" in shown else f"```text\n{shown}\n```"


def section(part: Part, *, quick: bool) -> str:
    """Section of the page about one part."""
    options = part.quick if quick else part.options
    before, started = load(), time.monotonic()
    shown = measure(part, options)
    took = f"{time.monotonic() - started:.0f} s, {before} before"
    command = " ".join(["python", f"benchmarks/{part.script}", *options])
    return f"## {part.title}\n\n{part.meaning}\n\n{shown}\n\n`{command}` ({took})\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[part.name for part in PARTS], help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all parts run")
    given = parser.parse_args()
    wanted = [part for part in PARTS if not given.only or part.name in given.only]
    sections = []
    for part in wanted:
        sections.append(section(part, quick=given.quick))
        print(sections[-1], flush=True)
    if not given.only and not given.quick:
        head = (
            "# Performance\n\n"
            "Written by `nox -s bench`; do not edit it. Both sides of a ratio were measured in one run, taking turns,"
            " so that a drift of the machine's speed affects both.\n\n"
            f"{machine()}, {time.strftime('%Y-%m-%d', time.gmtime())}.\n"
        )
        PAGE.write_text("\n".join([head, *sections]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
