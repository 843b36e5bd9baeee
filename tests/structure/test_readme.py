"""What the README promises is what happens: its commands are run as they are written."""

import os
import re
import shutil
import subprocess
import sys
from operator import itemgetter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAIN_JOB = ".venv/bin/python -m robustbench_wb run --suite adversarial"
OTHERS = ("nox", "pip install", "path/to", "fashion-mnist")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str, page: str = README) -> list[str]:
    return [text for kind, text in FENCE.findall(page) if kind == language]


def commands(block: str) -> list[str]:
    """Those of a block, but what sets up an environment, which continuous integration itself runs, and what needs data
    that this machine may not have; tests/tasks covers mirrors with data of its own."""
    lines = [line.split(" && ")[-1] for line in block.strip().splitlines()]
    return [line for line in lines if not any(word in line for word in OTHERS)]


def chains() -> list[list[str]]:
    """What is typed one after the other: what stands before the suites builds on the table of the main job; each block
    of suites and stressors starts anew, so that it can be typed beside the others."""
    written = [commands(block) for block in blocks("bash")]
    alone = [commands(block) for block in blocks("bash", README.split("\n## Suites, scales, stressors\n")[1])]
    before = [line for block in written if block not in alone for line in block]
    return [before, *filter(None, alone)]


def run(command: str, folder: Path, cache: str) -> subprocess.CompletedProcess[str]:
    python = f"{sys.executable} -m robustbench_wb"
    line = command.replace(".venv/bin/python -m robustbench_wb", python).replace("robustbench-wb ", f"{python} ")
    environment = {**os.environ, "RBWB_CACHE_DIR": cache}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )


def test_every_command_is_typed_once() -> None:
    typed = [line for chain in chains() for line in chain]
    assert len(typed) >= 5
    assert typed[0] == MAIN_JOB
    assert typed.count(MAIN_JOB) == 1
    assert typed == [line for block in blocks("bash") for line in commands(block)]


@pytest.mark.parametrize(
    "chain", [pytest.param(chain, marks=pytest.mark.slow(30 * len(chain))) for chain in chains()], ids=itemgetter(0)
)
def test_the_commands_of_the_readme_work_in_order(
    chain: list[str], tmp_path: Path, cache: str, request: pytest.FixtureRequest
) -> None:
    for name, text in re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(text)
    for command in chain:
        if command == MAIN_JOB:  # typed once for all tests
            done = request.getfixturevalue("main_job")
            shutil.copytree(done.folder, tmp_path, dirs_exist_ok=True)
        else:
            done = run(command, tmp_path, cache)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout.strip() or done.stderr.strip()


def test_the_environment_commands_install_what_is_pinned() -> None:
    setup = [line for block in blocks("bash") for line in block.splitlines() if "pip install" in line]
    assert len(setup) == 2
    assert all("-c constraints.txt" in line for line in setup)
    assert (ROOT / "constraints.txt").is_file()


def test_links_to_files_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_column_of_the_table_is_explained() -> None:
    from robustbench_wb.report.csv import COLUMNS

    explained = set(re.findall(r"`(\w+)`", README.split("## What the columns mean")[1].split("\n## ")[0]))
    assert set(COLUMNS) <= explained


def test_continuous_integration_runs_the_test_command() -> None:
    assert shutil.which("bash")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "README.md" in script
    assert "<!-- test-command -->" in README
    assert ".venv/bin/nox -s docs slow\n" in script
