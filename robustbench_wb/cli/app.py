"""Command-line application: the commands, and the one place that turns errors into exit codes."""

import logging
import sys
from collections.abc import Callable
from functools import cache

import typer

from robustbench_wb import __version__
from robustbench_wb.cli import console
from robustbench_wb.cli.baseline import baseline_app
from robustbench_wb.cli.claims import claims_app
from robustbench_wb.cli.curves import curves_command
from robustbench_wb.cli.diff import diff_command
from robustbench_wb.cli.doctor import doctor_command
from robustbench_wb.cli.explain import explain_command
from robustbench_wb.cli.export import export_app
from robustbench_wb.cli.gate import gate_command
from robustbench_wb.cli.history import history_command
from robustbench_wb.cli.import_checkpoint import import_command
from robustbench_wb.cli.layers import layers_command
from robustbench_wb.cli.leaderboard import leaderboard_command
from robustbench_wb.cli.list import list_command
from robustbench_wb.cli.merge import merge_command
from robustbench_wb.cli.option_names import with_options
from robustbench_wb.cli.plan import plan_command
from robustbench_wb.cli.repair import repair_command, vacuum_command
from robustbench_wb.cli.report import report_command
from robustbench_wb.cli.run import run_command
from robustbench_wb.cli.selfcheck import selfcheck_command
from robustbench_wb.cli.show import show_command
from robustbench_wb.cli.site import site_command
from robustbench_wb.cli.strength import strength_command
from robustbench_wb.cli.train import train_command
from robustbench_wb.cli.verify import verify_command
from robustbench_wb.errors import ExitCode, HarnessError
from robustbench_wb.interrupts import stop_signal, stop_words, watching_interrupts

EPILOG = (
    "Exit codes: 0 success, 1 the gate found a regression or a claim is refuted, 2 the request or its input is wrong, "
    "3 two tables have no comparable cell (gate, claims: one is not comparable; verify: a cell cannot be evaluated "
    "again; merge: rows in conflict), 4 a cell could not be evaluated or lacks its record, or a check of doctor or "
    "selfcheck failed, 5 a number is not credible (gate, verify; merge: one key has two outcomes), 70 internal error, "
    "129 its terminal was closed, 130 interrupted, 143 ended by SIGTERM (the same command resumes)."
)

RESUMES = "what was finished is saved: run the same command to resume"

app = typer.Typer(
    name="robustbench-wb",
    help="Benchmark the robustness of transformers, and trust the numbers.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", epilog=EPILOG)(run_command)
app.command("plan")(plan_command)
app.command("train", epilog=EPILOG)(train_command)
app.command("doctor", epilog=EPILOG)(doctor_command)
app.command("selfcheck")(selfcheck_command)
app.command("list")(list_command)
app.command("show")(show_command)
app.command("layers")(layers_command)
app.command("curves")(curves_command)
app.command("strength")(strength_command)
app.command("diff", epilog=EPILOG)(diff_command)
app.command("gate", epilog=EPILOG)(gate_command)
app.command("verify", epilog=EPILOG)(verify_command)
app.command("explain", epilog=EPILOG)(explain_command)
app.add_typer(baseline_app, name="baseline")
app.add_typer(claims_app, name="claims")
app.command("merge", epilog=EPILOG)(merge_command)
app.command("repair", epilog=EPILOG)(repair_command)
app.command("vacuum", epilog=EPILOG)(vacuum_command)
app.command("leaderboard")(leaderboard_command)
app.command("history")(history_command)
app.command("report")(report_command)
app.command("site")(site_command)
app.add_typer(export_app, name="export")
app.command("import-checkpoint")(import_command)

# The parser's own errors: typer's BadParameter derives from UsageError, which derives from this class.
_PARSER_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    show_version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Benchmark the robustness of transformers, and trust the numbers."""
    if show_version:
        console.show(f"robustbench_wb {__version__}")
        raise typer.Exit(ExitCode.OK)


def run_cli(arguments: list[str]) -> int:
    """Run one command; return its exit code. Expected errors become one line on standard error."""
    try:
        with watching_interrupts(ends=True):
            code = _parser()(arguments, prog_name="robustbench-wb", standalone_mode=False)
    except HarnessError as error:
        logging.getLogger(__name__).debug("traceback", exc_info=True)
        console.tell(f"error: {with_options(error)}")
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _stopped()
    except SystemExit as ended:
        # Help and errors of the parser are printed by libraries, which end with 1 where the reader has closed its pipe.
        if isinstance(ended.__context__, BrokenPipeError):
            console.discard(sys.stdout)
            return int(ExitCode.OK)
        console.tell(f"error: code that the request names called exit({ended.code}) outside an evaluation")
        return int(ExitCode.USAGE)
    except _PARSER_ERROR as error:
        message = error.format_message()  # type: ignore[attr-defined]
        if message:
            console.tell(f"error: {' '.join(message.split()).rstrip('.')}; see --help")
        return int(ExitCode.USAGE)
    if code == ExitCode.INTERRUPTED:  # newer parsers turn Ctrl-C into this code themselves
        return _stopped()
    return int(code or 0)


def _stopped() -> int:
    """Say that the command was stopped, and by what; return its exit code."""
    number = stop_signal()
    console.tell(f"{stop_words(number)}; {RESUMES}")
    return 128 + number


@cache
def _parser() -> Callable[..., int | None]:
    """The parser of the whole application: making one reads the signatures of all commands."""
    return typer.main.get_command(app)
