"""Wrong invocations of the command line, generated from a seed: files that are damaged, values that make no sense."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from robustbench_wb.api.gate import pin
from robustbench_wb.api.leaderboard import leaderboard
from robustbench_wb.api.run import run
from robustbench_wb.report.csv import rows_csv
from robustbench_wb.report.json import leaderboard_json

Damage = Callable[[bytes, random.Random], bytes]
Arguments = tuple[str, ...]

DAMAGES: dict[str, Damage] = {
    "empty": lambda whole, chance: b"",
    "cut": lambda whole, chance: whole[: chance.randrange(len(whole))],
    "bits": lambda whole, chance: flipped(whole, chance, 8),
    "noise": lambda whole, chance: chance.randbytes(500),
    "null bytes": lambda whole, chance: bytes(len(whole)),
    "latin": lambda whole, chance: b"# \xe4\xf6\xfc\n" + whole,
    "utf-16": lambda whole, chance: b"\xff\xfe" + whole.decode("latin-1").encode("utf-16-le"),
    "deep lists": lambda whole, chance: b"a = " * whole.startswith(b"name") + b"[" * 100_000,
    "deep objects": lambda whole, chance: b'{"rows":' * 50_000,
    "deep toml": lambda whole, chance: b"claims = " + b"[" * 5_000 + b"]" * 5_000,
    "huge integer": lambda whole, chance: b"version = 1" + b"0" * 5_000 + b"\n",
    "huge JSON integer": lambda whole, chance: b'{"rows": [], "schema": 1' + b"0" * 5_000 + b"}",
    "a list": lambda whole, chance: b'[1, null, "a"]',
    "a number": lambda whole, chance: b"1e999",
    "null": lambda whole, chance: b"null",
    "wrong kinds": lambda whole, chance: b'{"rows": 3, "schema": {}, "cells": null}',
    "lone surrogate": lambda whole, chance: b'{"rows": [{"suite": "\\ud800"}], "schema": 9}',
}


def flipped(whole: bytes, chance: random.Random, count: int) -> bytes:
    """Some bytes with ``count`` bits flipped."""
    found = bytearray(whole)
    for _ in range(count if found else 0):
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def prepare(folder: Path) -> None:
    """Results of a small run, and one good file of each kind that a command reads."""
    tiny = {"variants": "vit", "recipe": "none", "samples": 6, "device": "cpu"}
    run(results=str(folder / "results"), suite="adversarial", stressors="fgsm-linf;eps=8/255", **tiny)  # type: ignore[arg-type]
    pin("main", results=str(folder / "results"), to=str(folder / "good.parquet"))
    board = leaderboard("latest", str(folder / "results"))
    (folder / "good.csv").write_text(rows_csv(board.rows), newline="")
    (folder / "good.json").write_text(leaderboard_json(board.rows, board.rankings, board.version))
    (folder / "noise.json").write_text('{"schema": 1, "settings": [], "retrained": false, "cells": []}')
    (folder / "claims.toml").write_text('claims = ["vit-nano has an accuracy of at least 1 % at clean"]\n')
    (folder / "margins.toml").write_text("default = 1.0\nadversarial = 2.0\n")
    suite = Path(__file__).parents[2] / "robustbench_wb" / "suites" / "clean.toml"
    shutil.copy(suite, folder / "suite.toml")


def with_files(folder: Path, chance: random.Random) -> Iterator[Arguments]:
    """Commands that read a damaged file of each kind."""
    tables = ("good.csv", "good.json", "good.parquet")
    readers: list[tuple[str, Sequence[Arguments]]] = [
        *(
            (name, (("verify", "{}"), ("diff", "{}", "v1"), ("gate", "--baseline", "{}"), ("leaderboard", "{}")))
            for name in tables
        ),
        *(
            (name, (("report", "{}", "--html", "-"), ("curves", "{}"), ("strength", "vit", "--version", "{}")))
            for name in tables
        ),
        (
            "good.parquet",
            (("baseline", "history", "main", "--to", "{}"), ("baseline", "promote", "main", "--to", "{}")),
        ),
        ("noise.json", (("gate", "--baseline", "v1", "--noise", "{}"),)),
        ("margins.toml", (("gate", "--baseline", "v1", "--config", "{}"),)),
        ("claims.toml", (("claims", "check", "{}"),)),
        (
            "suite.toml",
            (("explain", "--suite", "{}", "--recipe", "none"), ("run", "--suite", "{}", "--recipe", "none")),
        ),
        ("good.parquet", (("run", "--variant", "vit", "--checkpoint", "{}"),)),
        ("good.parquet", (("import-checkpoint", "{}", "--variant", "crate", "--size", "tiny", "--output", "out"),)),
    ]
    for name, commands in readers:
        whole = (folder / name).read_bytes()
        for damage, make in DAMAGES.items():
            path = folder / f"{damage.replace(' ', '-')}-{name}"
            path.write_bytes(make(whole, chance))
            command = commands[chance.randrange(len(commands))]
            yield tuple(part.replace("{}", str(path)) for part in command)
    for name in (".", "missing.csv", "missing.parquet", "a" * 300 + ".csv", "\udcff.json", "loop.csv"):
        for start in (("verify",), ("gate", "--baseline"), ("claims", "check"), ("run", "--suite"), ("merge",)):
            yield (*start, name)


VALUES = (
    "",
    " ",
    "-1",
    "0",
    "1e9",
    "9" * 400,
    "nan",
    "inf",
    "\udcff",
    "\0",
    "a" * 5_000,
    "..",
    "v0",
    "HEAD~9",
    "é",
    "{}",
    "%",
)


def with_values(chance: random.Random) -> Iterator[Arguments]:
    """Commands with values that make no sense."""
    small = ("--variant", "vit", "--recipe", "none", "--samples", "2", "--suite", "clean", "--device", "cpu")
    run_options = ("suite", "task", "variant", "size", "recipe", "scale", "samples", "split", "stressor", "epsilon")
    rest = ("checkpoint", "seed", "data-dir", "device", "batch-size", "workers", "progress", "log-level")
    options: list[tuple[Arguments, Sequence[str]]] = [
        (("explain", *small), run_options),
        (("run", *small), (*run_options, *rest)),
        (("doctor", "vit"), ("task", "data-dir", "seed")),
        (("train", "--variant", "vit", "--recipe", "none"), ("task", "size", "recipe", "scale", "seed", "device")),
        (("layers", "vit", "--recipe", "none"), ("task", "stressor", "samples")),
        (("selfcheck", *small), ("stressor", "scale")),
        (("gate", "--baseline", "v1"), ("margin", "config", "noise", "version", "junit", "markdown")),
        (("diff", "v1", "v1"), ("delta", "allow", "correction", "csv")),
        (("verify",), ("rerun", "seed", "results")),
        (("leaderboard",), ("version", "csv", "html", "markdown", "ranking-csv", "results")),
        (("report",), ("html", "against", "results")),
        (("strength", "vit"), ("version", "stressor")),
        (("merge", "results"), ("prefer", "results")),
        (
            ("import-checkpoint", "good.csv", "--variant", "vit", "--size", "tiny", "--output", "out"),
            ("mean", "std", "eta", "lambda", "classes", "image"),
        ),
        (("baseline", "pin", "main"), ("version", "to", "results")),
        (("vacuum",), ("days",)),
    ]
    for command, names in options:
        for name in names:
            for value in chance.sample(VALUES, 3):
                yield (*command, f"--{name}", value)
    alone = (
        "show",
        "verify",
        "curves",
        "strength",
        "doctor",
        "layers",
        "explain",
        "list",
        "repair",
        "vacuum",
        "nonsense",
    )
    for name in alone:
        for value in chance.sample(VALUES, 3):
            yield (name, value)
