"""Code that a results folder names runs only when the user names it again."""

from collections.abc import Callable
from pathlib import Path

import pytest

MODEL = """
from pathlib import Path
from torch import nn

Path("ran").touch()

def make(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, shape.classes))
"""
RUN = ("--recipe", "none", "--samples", "20", "--stressor", "noise-linf;eps=64/255", "--progress", "none")
RERUN = ("verify", "--rerun", "4", "--progress", "none")


@pytest.fixture
def ran(typed: Callable[..., tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of a model of a file, with results in the working folder; the file that its code makes, removed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    typed("run", "--variant", "model.py:make", "--variant", "vit", *RUN)
    (tmp_path / "ran").unlink()
    return tmp_path / "ran"


def test_verify_runs_no_code_that_only_the_table_names(ran: Path, typed: Callable[..., tuple[str, str]]) -> None:
    out, _ = typed(*RERUN, "--rerun", "80", code=3)
    assert not ran.exists()
    assert "it runs only with --variant model.py:make or --trust-code" in " ".join(out.split())
    typed(*RERUN, "--variant", "other.py:make", "--rerun", "80", code=3)
    assert not ran.exists()


@pytest.mark.slow(1)
@pytest.mark.parametrize("trust", [("--variant", "../{folder}/model.py:make"), ("--trust-code",)])
def test_verify_runs_code_that_the_user_trusts(
    trust: tuple[str, ...], ran: Path, typed: Callable[..., tuple[str, str]]
) -> None:
    typed(*RERUN, *(part.format(folder=ran.parent.name) for part in trust))
    assert ran.exists()


@pytest.mark.slow(2)
def test_a_gallery_runs_no_code_that_only_the_table_names(ran: Path, typed: Callable[..., tuple[str, str]]) -> None:
    typed("report", "--html", "page.html", "--gallery", "--progress", "none")
    assert not ran.exists()
    typed("report", "--html", "page.html", "--gallery", "--variant", "model.py:make", "--progress", "none")
    assert ran.exists()


@pytest.mark.slow(2)
def test_a_surrogate_and_a_suite_are_code_too(
    typed: Callable[..., tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    line = "transfer-linf;eps=16/255;steps=1;source=model.py:make"
    head = "name = 'own'\nsummary = 'one'\nversion = 1\ntasks = ['digits']\nvariants = ['vit']"
    suite = f"{head}\n[scales.smoke]\nsize = 'nano'\n[[stressors]]\nuse = '{line}'\n"
    (tmp_path / "own.toml").write_text(suite)
    options = ("--variant", "vit", "--recipe", "none", "--samples", "20", "--progress", "none")
    for asked in (("--stressor", line), ("--suite", "own.toml")):
        typed("run", *asked, *options)
        (tmp_path / "ran").unlink()
        typed(*RERUN, "--rerun", "40", code=3)
        assert not (tmp_path / "ran").exists()
    typed(*RERUN, "--rerun", "40", "--variant", "model.py:make")
    assert (tmp_path / "ran").exists()
