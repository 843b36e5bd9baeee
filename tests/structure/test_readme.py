"""What the README and the pages behind it promise is what happens: their commands are run as they are written."""

import re
import shlex
import shutil
from operator import itemgetter
from pathlib import Path

import pytest

from robustbench_wb.cli.app import run_cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS, SUITES, MODELS = (
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("commands", "suites", "subjects")
)
MAIN_JOB = ".venv/bin/python -m robustbench_wb run --suite adversarial"
LIKE_MAIN_JOB = "robustbench-wb run --variant mymodel.py:make --variant vit"
"""A command that evaluates vit as the main job does, and reuses those evaluations."""
MODELS = re.sub(r"\n## Choose between models\n.*?(?=\n## )", "", MODELS, flags=re.DOTALL)  # tests/cli/test_choosing.py
OTHERS = ("nox", "pip install", "timm:", "path/to")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str, page: str = README) -> list[str]:
    return [text for kind, text in FENCE.findall(page) if kind == language]


def commands(block: str) -> list[str]:
    """Those of a block, but what sets up an environment, which continuous integration itself runs, and what needs data
    that this machine may not have; tests/tasks covers mirrors with data of its own."""
    lines = [line.split(" && ")[-1] for line in block.strip().splitlines()]
    return [line for line in lines if not any(word in line for word in OTHERS)]


def chains() -> list[list[str]]:
    """What is typed one after the other: the tour of the commands after the main job, and each other block."""
    main, *_ = filter(None, (commands(block) for block in blocks("bash")))
    (tour,) = (commands(block) for block in blocks("bash", COMMANDS))
    return [
        main + tour,
        *filter(None, (commands(block) for page in (MODELS, SUITES) for block in blocks("bash", page))),
    ]


def seconds(chain: list[str]) -> float:
    """Approximate time; the few seconds of the chain that waits for the main job let it come late."""
    return 10 if LIKE_MAIN_JOB in chain else 20 * len(chain)


def words(command: str) -> list[str]:
    """A command as the shell gives it to the program, without the program's own name."""
    return shlex.split(command.removeprefix("robustbench-wb "), comments=True)


def test_every_page_has_commands_and_the_main_job_is_typed_once() -> None:
    typed = [line for chain in chains() for line in chain]
    assert len(chains()) == 4
    assert typed[0] == MAIN_JOB
    assert typed.count(MAIN_JOB) == typed.count(LIKE_MAIN_JOB) == 1


@pytest.mark.full_probe
@pytest.mark.parametrize(
    "chain", [pytest.param(chain, marks=pytest.mark.slow(seconds(chain))) for chain in chains()], ids=itemgetter(0)
)
def test_the_commands_of_the_readme_work_in_order(
    chain: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    for name, text in re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```", MODELS, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    for command in chain:
        if command == MAIN_JOB:  # typed once for all tests, and in a process of its own
            done = request.getfixturevalue("main_job")
            shutil.copytree(done.folder, tmp_path, dirs_exist_ok=True)
            code, out, err = done.returncode, done.stdout, done.stderr
        else:
            if command == LIKE_MAIN_JOB:
                done = request.getfixturevalue("main_job")
                shutil.copytree(done.folder / "results" / "records", tmp_path / "results" / "records")
            code = run_cli(words(command))
            out, err = capsys.readouterr()
        assert code == 0, f"{command}\n{err}"
        assert out.strip() or err.strip()


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

    table = (
        (ROOT / "docs" / "formats.md").read_text(encoding="utf-8").split("\n## Scores\n")[1].split("\n\nFormulas")[0]
    )
    explained = [
        name for cell in re.findall(r"^\|([^|]*)\|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    ]
    assert explained == list(COLUMNS)  # in the order of the file


def test_continuous_integration_runs_the_test_command() -> None:
    assert shutil.which("bash")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "README.md" in script
    assert "<!-- test-command -->" in README
    assert ".venv/bin/nox -s slow\n" in script
    assert ".venv/bin/nox -s docs gate >" in script
