"""Faults: each is injected into a copy of a prepared folder, and judged after the same command has run again."""

import hashlib
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustbench_wb.store.score_table import ScoreTable
from tests.faults.children import Ended, call, command, finish, start
from tests.faults.invocations import flipped

ELAPSED = {"seconds", "train_seconds", "checksum"}
OWN = ("--device", "cpu", "--progress", "none", "--samples", "12")
RADII = ("--epsilon", "4/255", "--epsilon", "8/255")
ATTACKS = ("--stressor", "pgd-linf;eps=1;steps=3", "--stressor", "fgsm-l2;eps=1", *RADII)
RUN = ("run", *OWN, *ATTACKS, "--variant", "model.py:make", "--variant", "model.py:other", "--recipe", "none")
TRAIN = ("run", *OWN, "--suite", "clean", "--variant", "model.py:make")
LAYERS = (*TRAIN, "--layers")
NOISE = ("run", *OWN, "--stressor", "gaussian-noise;severity=3", "--variant", "model.py:make", "--recipe", "none")
SHARD = ("run", *OWN, *ATTACKS, "--variant", "model.py:third", "--recipe", "none", "--results", "shard")
PIN = ("baseline", "pin", "main", "--to", "main.parquet")
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": RUN,
    "run, trained": TRAIN,
    "run, noise": NOISE,
    "merge": ("merge", "shard"),
    "pin": PIN,
    "leaderboard": ("leaderboard", "--csv", "board.csv", "--html", "board.html", "--markdown", "board.md"),
    "report": ("report", "--html", "report.html"),
}
EMPTY = ("run", "run, trained", "run, noise")
"""Commands that start without results."""
EXPORTS = ("main.parquet", "board.csv", "board.html", "board.md", "report.html")
MODEL = """
import torch
from torch import nn


class Linear(nn.Module):
    def __init__(self, shape, seed):
        super().__init__()
        self.flat = nn.Flatten()
        self.layer = nn.Linear(shape.channels * shape.height * shape.width, shape.classes)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            nn.init.normal_(self.layer.weight)

    def forward(self, images):
        return self.layer(self.flat(images))


def make(shape):
    return Linear(shape, 1)


def other(shape):
    return Linear(shape, 2)


def third(shape):
    return Linear(shape, 3)


class Leaving(Linear):
    def forward(self, images):
        EXIT


def leaving(shape):
    return Leaving(shape, 4)
"""
EXITS = (
    "raise SystemExit(0)",
    "raise SystemExit(1)",
    "import sys; sys.exit('bye')",
    "import os; os._exit(0)",
    "import os; os._exit(1)",
)


@dataclass
class Prepared:
    """Folders to copy, and what each command makes of them if nothing disturbs it."""

    empty: Path
    finished: Path
    exported: Path
    outcomes: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def base(self, name: str) -> Path:
        """Folder that a command starts from."""
        return self.empty if name in EMPTY else self.finished


def prepare(folder: Path) -> Prepared:
    """Run every command once, undisturbed."""
    made = Prepared(empty=folder / "empty", finished=folder / "finished", exported=folder / "exported")
    made.empty.mkdir(parents=True)
    (made.empty / "model.py").write_text(MODEL)
    shutil.copytree(made.empty, made.finished)
    for first in (RUN, NOISE, LAYERS, SHARD):
        expect(command(*first, folder=made.finished), 0)
    for name, arguments in COMMANDS.items():
        place = copied(made.base(name), folder / "undisturbed")
        began = time.monotonic()
        expect(command(*arguments, folder=place), 0)
        made.seconds[name] = time.monotonic() - began
        made.outcomes[name] = outcome(place)
    made.outcomes["finished"] = outcome(made.finished)
    shutil.copytree(made.finished, made.exported)
    for name in ("pin", "leaderboard"):
        expect(command(*COMMANDS[name], folder=made.exported), 0)
    return made


def copied(base: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base, place)
    return place


def expect(ended: Ended, *codes: int) -> None:
    """Raise AssertionError unless a command ended with one of some codes."""
    assert ended.code in codes, f"exit code {ended.code}: {ended.told.strip()[-500:]}"


def outcome(place: Path) -> Any:
    """Rows of the latest version without times, and the digests of the exported files."""

    def read() -> object:
        rows = [row.model_dump(exclude=ELAPSED) for row in ScoreTable(str(place / "results")).rows()]
        written = [path for name in EXPORTS if (path := place / name).exists()]
        return [sorted(rows, key=str), {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in written}]

    return call(read)


def judge(place: Path, expected: Any) -> None:
    """The table must be that of the undisturbed command, and be verified."""
    found = outcome(place)
    assert found == expected, "another table" if found is None or found[0] != expected[0] else "another file"
    expect(command("verify", "--results", "results", "--progress", "none", folder=place), 0)


def kill(made: Prepared, place: Path, chance: random.Random, name: str) -> str:
    """Kill a command at a random moment."""
    copied(made.base(name), place)
    moment = chance.uniform(0, 1.1 * made.seconds[name])
    finish(start(COMMANDS[name], place), place, kill_after=moment)
    ended = command(*COMMANDS[name], folder=place)
    if name == "pin" and ended.code == 2:
        assert "main.parquet exists" in ended.told
    else:
        expect(ended, 0)
    judge(place, made.outcomes[name])
    return f"{name}, killed after {moment:.2f} s"


def full(made: Prepared, place: Path, chance: random.Random, name: str) -> str:
    """Let no file grow beyond a few kilobytes, as on a full disk."""
    copied(made.base(name), place)
    limit = int(2 ** chance.uniform(0, 18))
    ended = finish(start(COMMANDS[name], place, limit), place)
    expect(ended, 0, 2, 4)
    assert "Traceback" not in ended.told
    expect(command(*COMMANDS[name], folder=place), 0)
    judge(place, made.outcomes[name])
    return f"{name}, files of at most {limit} bytes: exit code {ended.code}"


def together(made: Prepared, place: Path, chance: random.Random, count: int) -> str:
    """Type a command several times at once."""
    name = chance.choice(EMPTY)
    copied(made.base(name), place)
    children = []
    for _ in range(count):
        children.append(start(COMMANDS[name], place))
        time.sleep(chance.uniform(0, 0.1))
    for child in children:
        expect(finish(child, place), 0)
    judge(place, made.outcomes[name])
    return f"{count} times {name}"


def hostile(made: Prepared, place: Path, chance: random.Random, exit_text: str) -> str:
    """Evaluate a model that ends the process, then the others without it."""
    copied(made.empty, place)
    (place / "model.py").write_text(MODEL.replace("EXIT", exit_text))
    ended = command(*RUN, "--variant", "model.py:leaving", folder=place)
    expect(ended, 4) if "os._exit" not in exit_text else expect(ended, 0, 1)
    (place / "model.py").write_text(MODEL)
    shutil.rmtree(place / "results" / "scores", ignore_errors=True)
    expect(command(*RUN, folder=place), 0)
    judge(place, made.outcomes["run"])
    return f"{exit_text}: exit code {ended.code}"


def kinds_of_files(folder: Path) -> dict[str, list[Path]]:
    """Files of a prepared folder, by their kind."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size and not path.name.startswith("told-") and path.suffix != ".py":
            inside = path.relative_to(folder)
            where = "/".join(inside.parts[:2]) if len(inside.parts) > 2 else inside.parts[0]
            found.setdefault(f"{where} {path.suffix}" if len(inside.parts) > 1 else path.name, []).append(path)
    return {kind: paths for kind, paths in found.items() if not kind.startswith(("shard", "board.html", "board.md"))}


def damage(made: Prepared, place: Path, chance: random.Random, kind: str) -> str:
    """Cut a file, flip some of its bits, or remove it."""
    copied(made.exported, place)
    path = chance.choice(kinds_of_files(place)[kind])
    whole = path.read_bytes()
    ways: dict[str, Callable[[], bytes]] = {
        "cut": lambda: whole[: chance.randrange(len(whole))],
        "flipped": lambda: flipped(whole, chance, chance.choice((1, 8))),
        "zeros": lambda: bytes(len(whole)),
    }
    way = chance.choice(sorted(ways))
    path.write_bytes(ways[way]())
    said = f"{kind}, {way}: {path.relative_to(place)}"
    if path.name in EXPORTS:
        return f"{said}: {_read_export(place, path)}"
    codes = []
    for again in (RUN, ("verify", "--results", "results", "--progress", "none")):
        ended = command(*again, folder=place)
        codes.append(ended.code)
        if ended.code:
            expect(ended, 2, 4, 5)
            _named(ended, path)
            repaired = command("repair", "results", folder=place)
            expect(repaired, 0, 4)
            expect(command(*RUN, folder=place), 0)
    for arguments in (NOISE, LAYERS):
        expect(command(*arguments, folder=place), 0)
    for name in EXPORTS:
        (place / name).unlink(missing_ok=True)
    judge(place, made.outcomes["finished"])
    return f"{said}: exit codes {codes}"


def _named(ended: Ended, path: Path) -> None:
    """A refusal is one line, and names the damaged file or the record."""
    lines = [line for line in ended.told.splitlines() if line.startswith("error: ")]
    assert ended.code != 2 or len(lines) == 1, ended.told[-500:]
    assert ended.code != 2 or path.name in lines[0] or "record " in lines[0] or "the scores under" in lines[0], lines


def _read_export(place: Path, path: Path) -> str:
    """A damaged export is refused by name, or its edit is found; else nothing that counts has changed."""
    ended = command("verify", path.name, "--progress", "none", folder=place)
    expect(ended, 0, 2, 5)
    if ended.code == 2:
        assert path.name in ended.told
    return f"exit code {ended.code}"


Fault = Callable[[Prepared, Path, random.Random], str]


def faults(made: Prepared) -> dict[str, Sequence[Fault]]:
    """Faults of each kind; a session takes them in turn."""

    def each(function: Callable[..., str], choices: Sequence[Any]) -> list[Fault]:
        return [lambda made, place, chance, one=one: function(made, place, chance, one) for one in choices]  # type: ignore[misc]

    return {
        "kill -9": each(kill, list(COMMANDS)),
        "damaged files": each(damage, sorted(kinds_of_files(made.exported))),
        "full disk": each(full, list(COMMANDS)),
        "runs at once": each(together, (2, 8)),
        "models that exit": each(hostile, EXITS),
    }
