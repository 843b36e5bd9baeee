"""The quality gates. Plain ``nox`` runs them all, in the environment it was installed in.

``nox --force-venv-backend virtualenv`` gives every session an environment of its own instead.
"""

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "slow"]


def install(session: nox.Session) -> None:
    """Install the project where the session has an environment of its own."""
    if session.venv_backend != "none":
        session.install("-c", "constraints.txt", "-e", ".[dev]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and simple mistakes."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy strict."""
    install(session)
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests, with coverage."""
    install(session)
    session.run(
        "pytest", "-m", "not slow", "-n", "2", "--cov", "--cov-report=term:skip-covered", "--cov-fail-under=90",
        *session.posargs,
    )  # fmt: skip


@nox.session
def slow(session: nox.Session) -> None:
    """Real processes killed and resumed, the README's commands, the two PGDs against each other."""
    install(session)
    session.run("pytest", "-m", "slow", "-n", "2", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed against other libraries, side by side in one run. Not a gate."""
    install(session)
    session.run("python", "benchmarks/attacks.py", *session.posargs)
