"""The quality gates. Plain ``nox`` runs them all, in the environment it was installed in.

``nox --force-venv-backend virtualenv`` gives every session an environment of its own instead.
"""

import atexit
import shutil
import sys
import tempfile

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "slow"]


# Two test processes that each start a thread per core get in each other's way, up to 25-fold.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def shared_cache() -> str:
    """A new folder where all tests of one ``nox`` keep trained subjects; it is keyed by bytes, so it may be shared."""
    folder = tempfile.mkdtemp(prefix="robustbench-wb-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


ENVIRONMENT = {**ONE_THREAD, "RBWB_TESTS_CACHE": shared_cache()}


def run(session: nox.Session, *command: str, env: dict[str, str] | None = None) -> None:
    """Run a Python module, in the session's own environment if it has one."""
    own = session.venv_backend != "none"
    if own:
        session.install("-c", "constraints.txt", "-e", ".[dev]")
    session.run("python" if own else sys.executable, *command, env=env)


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
    """The fast tests, with coverage."""
    coverage = ("--cov", "--cov-report=term:skip-covered", "--cov-fail-under=90")
    run(session, "-m", "pytest", "-n", "2", "--dist", "worksteal", *coverage, *session.posargs, env=ENVIRONMENT)


@nox.session
def slow(session: nox.Session) -> None:
    """Real processes killed and resumed, the README's commands, fake defences, two PGDs, the report in a browser."""
    # One test at a time to whoever is idle: the longest come first.
    spread = ("-n", "2", "--dist", "load", "--maxschedchunk", "1")
    run(session, "-m", "pytest", "-m", "slow", *spread, *session.posargs, env=ENVIRONMENT)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed against other libraries, side by side in one run. Not a gate."""
    run(session, "benchmarks/attacks.py", *session.posargs)
