"""How commands that are printed name the program, so that they can be pasted."""

import sys
from pathlib import Path

import pytest

from robustbench_wb.cli.console import PROGRAM, program


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Virtual environment ``my env`` in the working folder, whose Python runs; it is not on the PATH."""
    scripts = tmp_path / "my env" / "bin"
    scripts.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(scripts / "python3"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return scripts


def test_a_printed_command_starts_the_installation_that_printed_it(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program() == "python3 -m robustbench_wb"
    script = environment / PROGRAM
    script.touch(mode=0o755)
    (tmp_path / PROGRAM).touch(mode=0o755)  # another installation
    assert program() == f"'my env/bin/{PROGRAM}'"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert program() == f"'{script}'"
    monkeypatch.setenv("PATH", str(environment))
    assert program() == PROGRAM
