"""Time from the shell to the answer of short commands, relative to a process that only imports torch.

    python benchmarks/startup.py [--turns 5]

Each turn starts every command once, in a process of its own. The median of the ratios is printed with its range.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

BASE = "python -c 'import torch'"
COMMANDS = {
    BASE: ["-c", "import torch"],
    "python -c 'import robustbench_wb'": ["-c", "import robustbench_wb"],
    "robustbench-wb --help": ["-m", "robustbench_wb", "--help"],
    "robustbench-wb list suites": ["-m", "robustbench_wb", "list", "suites"],
    "robustbench-wb show (no results)": ["-m", "robustbench_wb", "show", "--results", "{empty}"],
    "robustbench-wb leaderboard of the published table": [
        *("-m", "robustbench_wb", "leaderboard", "--version", "results/published/adversarial-digits-smoke.parquet"),
    ],
}
"""Arguments of Python for each command, by what a user types."""


def seconds(arguments: list[str], empty: str) -> float:
    """Wall time of one process."""
    environment = {**os.environ, "RBWB_CACHE_DIR": empty}
    command = [sys.executable, *(one.format(empty=empty) for one in arguments)]
    started = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        for arguments in COMMANDS.values():  # once to fill the caches of the system
            seconds(arguments, empty)
        turns = [{name: seconds(one, empty) for name, one in COMMANDS.items()} for _ in range(options.turns)]
    print("| command | seconds | times the import of torch | range |\n|---|---|---|---|")
    for name in COMMANDS:
        ratios = [turn[name] / turn[BASE] for turn in turns]
        median = statistics.median(turn[name] for turn in turns)
        print(f"| `{name}` | {median:.2f} | {statistics.median(ratios):.2f} | {min(ratios):.2f}-{max(ratios):.2f} |")


if __name__ == "__main__":
    main()
