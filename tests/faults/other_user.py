"""Two users with one cache, in a process of its own: ``python -m tests.faults.other_user FOLDER``.

The first one's files are of mode 0600; the second one runs the same commands, and must get the same table.
"""

import os
import sys
from pathlib import Path

from robustbench_wb.cli.app import run_cli
from tests.faults.injections import ELAPSED, MODEL, NOISE, TRAIN


def main(folder: Path) -> int:
    """Run as both users; the exit code is 0 if both have the same table and it is verified."""
    from robustbench_wb.store.score_table import ScoreTable

    os.environ["RBWB_CACHE_DIR"] = str(folder / "cache")
    os.chdir(folder)
    Path("model.py").write_text(MODEL)
    commands = (NOISE, (*TRAIN, "--layers"))
    codes = [run_cli([*arguments, "--results", "first"]) for arguments in commands]
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o777 if path.is_dir() or "cache" not in path.parts else 0o600)
    if os.geteuid():  # a user who is not the superuser can take the permission from himself
        for path in (folder / "cache").rglob("*.*"):
            path.chmod(0)
    else:
        os.seteuid(65534)
    codes += [run_cli([*arguments, "--results", "second"]) for arguments in commands]
    codes.append(run_cli(["verify", "--results", "second"]))
    first, second = (
        [row.model_dump(exclude=ELAPSED) for row in ScoreTable(str(folder / name)).rows()]
        for name in ("first", "second")
    )
    return int(any(codes) or first != second)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
