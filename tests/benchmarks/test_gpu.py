"""The run for a GPU, on a CPU and at a small size."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def _table(shown: str, first: str) -> list[list[str]]:
    """Cells of the Markdown table whose first column has this name, without its head."""
    lines = shown.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.slow(60)
@pytest.mark.parametrize("minutes", ["4", "0.2"])
def test_the_run_prints_its_tables_within_its_time(minutes: str) -> None:
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--small", "--minutes", minutes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parts = _table(done.stdout, "part")
    assert [row[0] for row in parts] == [*["PGD"] * 2, *["quick-linf"] * 2, "corruption"] * 2
    cells = {(row[0], row[1]): row for row in _table(done.stdout, "evaluation")}
    spent, budget = (float(word) for word in done.stdout.split()[-5:] if word.replace(".", "").isdigit())
    assert spent <= budget
    if minutes == "4":
        assert not [row for row in parts if row[4] == "no time left" or not row[-1].startswith("0 of")]
        assert all(0 < float(row[5]) <= 1 for row in parts)
        exact, coarse = (cells["pgd-linf@8/255", search] for search in ("float32", "bfloat16"))
        assert float(coarse[2]) <= float(exact[2])  # at the headline radius
        assert exact[5] == "0 of 12"  # a CPU repeats itself
        assert cells["gaussian-noise@3", "float32"][7] == "1 + 0"
    else:
        assert parts[-1][4] == "no time left"
