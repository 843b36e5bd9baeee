"""The quality gates. Plain ``nox`` runs those of a contributor, in the environment it was installed in.

``nox --force-venv-backend virtualenv`` gives every session an environment of its own instead.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


# Two test processes that each start a thread per core get in each other's way, up to 25-fold.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def shared_cache() -> str:
    """The folder where all tests keep trained models: that of the environment, or a new one for this ``nox``.

    It is keyed by content, so several sessions may share it.
    """
    given = os.environ.get("RBWB_TESTS_CACHE")
    if given:
        return given
    folder = tempfile.mkdtemp(prefix="robustbench-wb-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


ENVIRONMENT = {**ONE_THREAD, "RBWB_TESTS_CACHE": shared_cache()}
WORKERS = str(max(2, os.cpu_count() or 1))
FAST = ("-n", WORKERS, "--dist", "worksteal")


def run(session: nox.Session, *command: str, env: dict[str, str] | None = None) -> None:
    """Run a Python module, in the session's own environment if it has one."""
    own = session.venv_backend != "none"
    if own:
        session.install("-c", "constraints.txt", "-e", ".[dev]")
    session.run("python" if own else sys.executable, *command, env=env)


def compile_package(session: nox.Session) -> None:
    """Compile the package once for the many processes of the tests, where Python may not store what it compiles.

    The compiled files know their source by its content, so that tests that edit copies within a second run the edits.
    """
    run(session, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "robustbench_wb")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and simple mistakes."""
    run(session, "-m", "ruff", "check", ".")
    run(session, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy strict."""
    run(session, "-m", "mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests. In continuous integration, or with ``-- --cov``, they must execute 90 % of the package.

    Continuous integration says how many that are; ``coverage report`` lists the others.
    """
    compile_package(session)
    coverage = ("--cov", "--cov-report=") if "CI" in os.environ else ()
    run(session, "-m", "pytest", *FAST, *coverage, *session.posargs, env=ENVIRONMENT)


@nox.session
def slow(session: nox.Session) -> None:
    """Real processes, the README's commands, statistical guarantees, fake defences, the report in a browser."""
    compile_package(session)
    # One test at a time to whoever is idle: the longest come first.
    spread = ("-n", WORKERS, "--dist", "load", "--maxschedchunk", "1", "--durations", "40")
    run(session, "-m", "pytest", "-m", "slow", *spread, *session.posargs, env=ENVIRONMENT)


@nox.session
def faults(session: nox.Session) -> None:
    """Injected faults: killed, cut, flipped and full files, several runs at once. Figures at the end. Not a gate."""
    run(session, "-m", "pytest", "-m", "slow", "tests/faults/test_invocations.py", env=ENVIRONMENT)
    run(session, "-m", "tests.faults.session", *session.posargs, env=ENVIRONMENT)


@nox.session(python=["3.11", "3.12", "3.13"], venv_backend="virtualenv")
def pythons(session: nox.Session) -> None:
    """The fast tests on each supported Python, in an environment of its own. Not a gate."""
    tests(session)


@nox.session(venv_backend="virtualenv")
def lowest(session: nox.Session) -> None:
    """The fast tests with the lowest versions of all dependencies that ``pyproject.toml`` allows. Not a gate."""
    session.install("uv")
    session.run("uv", "pip", "install", "--resolution", "lowest-direct", "-e", ".[dev]")
    session.run("python", "-m", "pytest", *FAST, *session.posargs, env=ENVIRONMENT)


@nox.session
def docs(session: nox.Session) -> None:
    """Documentation site with the API reference; a broken link or a missing name is an error."""
    run(session, "-m", "mkdocs", "build", "--quiet", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Speed against other libraries, side by side in one run, written to docs/performance.md. Not a gate."""
    run(session, "benchmarks/performance.py", *session.posargs, env=ONE_THREAD)


@nox.session
def gate(session: nox.Session) -> None:
    """Robustness of committed checkpoints under today's code: no worse than the pinned baseline.

    The test of this gate reuses the evaluations, which it finds when all are there: it may run at the same time.
    """
    kept = Path(ENVIRONMENT["RBWB_TESTS_CACHE"], "gate")
    growing = kept if kept.exists() else kept.with_name("gate that runs")
    run(session, "benchmarks/regression.py", "--results", str(growing), *session.posargs, env=ONE_THREAD)
    growing.replace(kept)


@nox.session
def evidence(session: nox.Session) -> None:
    """Continue the evidence in results/evidence: ``-- --hours 8``. Not a gate."""
    run(session, "benchmarks/evidence.py", *session.posargs, env=ONE_THREAD)


@nox.session
def findings(session: nox.Session) -> None:
    """Make leaderboards, findings and README's share of them from the tables in results/evidence. Not a gate."""
    made = ("--markdown", "results/evidence/leaderboard.md", "--ranking-csv", "results/evidence/ranking.csv")
    run(session, "-m", "robustbench_wb", "leaderboard", "results/evidence", "--over-seeds", *made, env=ONE_THREAD)
    run(session, "benchmarks/evidence_readme.py", "--findings", "docs", env=ONE_THREAD)
