"""Provenance of a version of the score table: code, packages, machine and time."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, TypedDict

from robustbench_wb.source import PACKAGE_ROOT

PACKAGES: Final = ("robustbench_wb", "torch", "torchattacks", "datasets", "deltalake", "numpy", "pandas")
"""Packages whose versions are noted."""
_GIT_SECONDS: Final = 10.0


class GitState(TypedDict):
    """State of a git checkout."""

    commit: str
    """Hash of the checked-out commit."""
    dirty: bool
    """Whether files differ from the commit, untracked files included."""


def collect_provenance(
    *,
    device: str,
    hardware: Mapping[str, object],
    seed: int | Sequence[int],
    suite: str | Sequence[str],
    suite_version: int | Sequence[int],
    spec: object,
    command: str,
    source: Path = PACKAGE_ROOT,
) -> dict[str, object]:
    """Collect the provenance of a run, as JSON types.

    Args:
        device: name of the device, such as ``cpu`` or ``cuda:0``.
        hardware: name of the processor or GPU, and versions of its driver, as JSON types.
        seed: the run seed, or those of an experiment.
        suite: name of the suite, or of those of an experiment.
        suite_version: version of the suite, or of those of an experiment.
        spec: the request as JSON types or a ``Spec``, or the list of the requests of an experiment.
        command: command line of the user.
        source: folder of the package, whose git state is noted.

    Returns:
        The given fields, ``git`` (``GitState``, or None if the source is not a checkout or git is missing or
        slow), ``python``, ``packages`` (version by name, None if absent), ``platform``, ``machine``, ``cpus`` and
        ``time`` (UTC, ISO 8601).
    """
    return {
        "device": device,
        "hardware": dict(hardware),
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


def git_state(folder: Path) -> GitState | None:
    """State of the git checkout that tracks ``folder``; None if there is none or git is missing or slow."""
    # An installed package can be inside an unrelated repository, which does not track it.
    if _git(folder, ["ls-files", "--error-unmatch", "__init__.py"]) is None:
        return None
    state = _git(folder, ["status", "--porcelain=v2", "--branch"])
    if state is None:
        return None
    head, *lines = state.splitlines()
    commit = head.removeprefix("# branch.oid ")
    if commit == "(initial)":  # nothing is committed
        return None
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}


def _git(folder: Path, arguments: Sequence[str]) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    # Inherited variables such as GIT_DIR, which hooks set, would select another repository.
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
