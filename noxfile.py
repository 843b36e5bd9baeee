"""The quality gates. Plain ``nox`` runs them all, in the environment it was installed in.

``nox --force-venv-backend virtualenv`` gives every session an environment of its own instead.
"""

import sys

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "slow"]


def run(session: nox.Session, *command: str) -> None:
    """Run a Python module, in the session's own environment if it has one."""
    own = session.venv_backend != "none"
    if own:
        session.install("-c", "constraints.txt", "-e", ".[dev]")
    session.run("python" if own else sys.executable, *command)


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
    run(session, "-m", "pytest", "-m", "not slow", "-n", "2", *coverage, *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Real processes killed and resumed, the README's commands, the two PGDs against each other."""
    run(session, "-m", "pytest", "-m", "slow", "-n", "2", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed against other libraries, side by side in one run. Not a gate."""
    run(session, "benchmarks/attacks.py", *session.posargs)
