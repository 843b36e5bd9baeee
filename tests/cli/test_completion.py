"""Shell completion of commands and options."""

from collections.abc import Callable

import pytest

from robustbench_wb.cli.app import run_cli


@pytest.mark.parametrize(
    ("words", "offered"), [("robustbench-wb lea", "leaderboard"), ("robustbench-wb run --su", "--suite")]
)
def test_bash_completes(
    words: str, offered: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ROBUSTBENCH_WB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    run_cli([])
    assert offered in capsys.readouterr().out.split()


def test_it_can_be_installed(typed: Callable[..., tuple[str, str]]) -> None:
    out, _ = typed("--help")
    assert "--install-completion" in out
