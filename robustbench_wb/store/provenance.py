"""Where a version of the table came from: code, packages, machine and time. None can change a number."""

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from robustbench_wb.source import PACKAGE_ROOT

PACKAGES: Final = ("robustbench_wb", "torch", "torchattacks", "datasets", "deltalake", "numpy", "pandas")
_GIT_SECONDS: Final = 10.0


def collect(
    *,
    device: str,
    seed: int,
    suite: str,
    suite_version: int,
    spec: Any,
    command: str,
    source: Path = PACKAGE_ROOT,
) -> dict[str, Any]:
    """Everything worth knowing about a run, as JSON types.

    Args:
        device: like ``cpu`` or ``cuda:0``.
        seed: the run seed.
        suite: name of the suite.
        suite_version: its version.
        spec: the request as JSON types or a ``Spec``.
        command: what the user typed.
        source: the folder of the package; git is asked about it.

    Returns:
        The given fields, ``git`` (``{"commit", "dirty"}``; None when the source is not a checkout, or git is
        missing or slow), ``python``, ``packages`` (version by name, None when absent), ``platform``,
        ``machine``, ``cpus`` and ``time`` (UTC, ISO 8601).
    """
    return {
        "device": device,
        "seed": seed,
        "suite": suite,
        "suite_version": suite_version,
        "spec": spec,
        "command": command,
        "git": git_state(source),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and dirtiness (untracked files count) of the checkout tracking ``folder``; None without one."""
    # An installed package can lie inside somebody's unrelated repository; only a tracked one is our checkout.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    if commit is None or changes is None:
        return None
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def _git(folder: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    # Inherited GIT_DIR and friends (set inside hooks) would point at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            [program, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
