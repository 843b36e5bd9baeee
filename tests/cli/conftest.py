"""Commands typed in this process."""

from collections.abc import Callable

import pytest

from robustbench_wb.cli.app import run_cli


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Type a command that must end with ``code``; what went to standard output and to standard error."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        found = run_cli([*arguments])
        out, err = capsys.readouterr()
        assert found == code, out + err
        return out, err

    return command
