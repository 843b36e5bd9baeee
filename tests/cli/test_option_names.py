"""Errors name parameters to Python callers and options to users of the command line."""

import pytest

from robustbench_wb.cli.app import run_cli
from robustbench_wb.cli.option_names import with_options
from robustbench_wb.errors import StoreError, UsageError


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (UsageError("margin = -1 is no margin", "margin"), "--margin = -1 is no margin"),
        (UsageError("margin and config both", "margin", "config"), "--margin and --config both"),
        (UsageError("batch 0: too few", "batch"), "--batch-size 0: too few"),
        (UsageError("name data_dir, a folder", "data_dir"), "name --data-dir, a folder"),
        (UsageError("the margin is named nowhere"), "the margin is named nowhere"),
        (UsageError("submargin, margin", "margin"), "submargin, --margin"),
        (StoreError("no results"), "no results"),
    ],
)
def test_the_first_mention_of_a_parameter_becomes_its_option(error: UsageError, shown: str) -> None:
    assert with_options(error) == shown


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["run", "--samples", "0"], "error: --samples must be at least 1, not 0"),
        (["run", "--batch-size", "0"], "error: --batch-size must be at least 1, not 0"),
        (["run", "--device", "tpu9"], "error: --device 'tpu9' cannot be used"),
        (
            ["run", "--data-dir", "nowhere", "--task", "cifar10"],
            "error: data folder nowhere does not exist; --data-dir",
        ),
        (
            ["run", "--checkpoint", "x", "--variant", "vit", "--variant", "bert"],
            "error: --checkpoint holds the weights of one model; --variant must name exactly one with it",
        ),
    ],
)
def test_commands_show_options(arguments: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(arguments) == 2
    assert capsys.readouterr().err.startswith(shown)
