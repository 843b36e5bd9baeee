"""Find the code digests of two versions of this repository that stand for code with the same results.

    python benchmarks/equivalence.py --old ../another-checkout            # prints the equivalent digests
    python benchmarks/equivalence.py --old ../another-checkout --write    # and writes the list in the package
    python benchmarks/equivalence.py --old ../another-checkout --only pixelate    # runs whose names begin so

Both versions run the same golden cells, each in a process of its own: every variant is trained for a few steps on
images, texts and language, and every stressor runs on a trained model. A pair of digests is listed when every cell
that involves the pair has the same states, losses, passes, evidence, perturbed samples and weights, bit for bit. At the
end the new version explains which old cells it would reuse with the new list: all cells with equal outcomes.

The script uses nothing of either version but the command line, the records in the results folder, the names in the
registries, and three public names that are looked up in the source wherever they are defined: ``code_digest``,
``RECIPES`` and ``earliest``. It takes about ten minutes on two cores.
"""

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parents[1]
SAMPLES = 16
ARRAYS = ("ids", "states", "losses", "forwards", "backwards")
OUTCOME = ("wobble", "evidence", "perturbed")
MEASURED = ("signature", "ladder", "data", "samples", "weights", "numerics", "seed")

IMAGES = (
    *(f"{name};eps={eps}" for name, eps in (("fgsm-linf", "8/255"), ("fgsm-l2", "1/2"))),
    *(f"pgd-{norm};eps={eps};steps=4;restarts=2" for norm, eps in (("linf", "8/255"), ("l2", "1/2"), ("l1", "2"))),
    *(f"apgd-{norm};eps={eps};steps=8" for norm, eps in (("linf", "8/255"), ("l2", "1/2"))),
    *(f"apgd-t-{norm};eps={eps};steps=8;targets=2" for norm, eps in (("linf", "8/255"), ("l2", "1/2"))),
    *(f"fab-{norm};eps={eps};steps=6;targets=2" for norm, eps in (("linf", "8/255"), ("l2", "1/2"))),
    *(f"fmn-{norm};eps={eps};steps=8" for norm, eps in (("linf", "8/255"), ("l2", "1/2"), ("l1", "2"))),
    *(f"hopskipjump-{norm};eps={eps};queries=60" for norm, eps in (("linf", "32/255"), ("l2", "1"))),
    *(f"square-{norm};eps={eps};queries=40" for norm, eps in (("linf", "8/255"), ("l2", "1/2"))),
    *(f"spsa-{norm};eps={eps};steps=3;samples=8" for norm, eps in (("linf", "8/255"), ("l2", "1/2"))),
    *(f"noise-{norm};eps={eps};draws=4" for norm, eps in (("linf", "8/255"), ("l2", "1/2"))),
    *(f"{name}-{norm};eps={eps}" for name in ("quick", "strong") for norm, eps in (("linf", "8/255"), ("l2", "1/2"))),
    "bpda-linf;eps=8/255;steps=4;module=head.norm",
    "transfer-linf;eps=8/255;steps=4;source=crate",
    "published-fgsm-linf;eps=8/255",
    "published-pgd-linf;eps=8/255;steps=4",
    "published-spsa;eps=8/255;steps=3;samples=8",
    "torchattacks:PGD;eps=8/255;steps=4",
    *(
        f"{name};severity=3"
        for name in (
            *("gaussian-noise", "shot-noise", "impulse-noise", "speckle-noise", "gaussian-blur", "defocus-blur"),
            *("glass-blur", "motion-blur", "zoom-blur", "snow", "frost", "fog", "brightness", "contrast"),
            *("elastic-transform", "pixelate", "jpeg-compression", "spatter", "saturate"),
        )
    ),
    *(
        f"{name};rate=1/4"
        for name in (
            *("outlier-pixels", "outlier-patches", "pixel-dropout", "dead-channels", "dead-rows", "foreign-samples"),
            *("label-noise", "backdoor", "backdoor-clean", "training-outliers", "duplicates", "near-duplicates"),
        )
    ),
)
TEXTS = (
    *(f"embedding-fgsm-{norm};eps=1/2" for norm in ("linf", "l2")),
    *(f"embedding-pgd-{norm};eps=1/2;steps=4" for norm in ("linf", "l2")),
    "hotflip;budget=2;candidates=4",
    "random-flip;budget=2;draws=4",
    "word-substitution;rate=1/4;queries=20;candidates=4",
    "character-edits;rate=1/4;queries=20;candidates=4",
    "random-swap;rate=1/4;draws=4",
    *(
        f"{name};severity=3"
        for name in (
            *("keyboard-typos", "character-swap", "character-drop", "character-insert", "ocr", "homoglyphs", "case"),
            *("whitespace", "punctuation", "word-drop", "word-duplicate", "word-shuffle"),
        )
    ),
    *(
        f"{name};rate=1/4"
        for name in ("word-swap", "token-dropout", "token-substitution", "token-noise", "training-word-swap")
    ),
    "text-length;length=16",
)
OTHERS = (
    ("sentences-lm", "word-swap-lm;rate=1/4"),
    ("planted-64", "planted-facts;length=96"),
    ("listops-64", "listops-length;length=32"),
)


@dataclass(frozen=True)
class Run:
    """One command whose cells are compared."""

    name: str
    task: str
    variant: str = "vit"
    recipe: str = "golden"
    more: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        asked = {"task": self.task, "variant": self.variant, "recipe": self.recipe, "samples": SAMPLES, "size": "nano"}
        asked |= {"device": "cpu", "suite": "clean"}
        return [*(word for key, value in asked.items() for word in (f"--{key}", str(value))), *self.more]


@dataclass(kw_only=True)
class Golden:
    """Outcomes, record keys and code digests of all runs of one version."""

    outcomes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Digest of the outcome of each measured cell, by name of the run and identity of the cell."""
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    """Key of the record of each measured cell, by name of the run and identity of the cell."""
    digests: dict[str, list[str]] = field(default_factory=dict)
    """Distinct code digests that each run computed, in order, by name of the run."""
    commit: str = ""


def runs(variants: Iterable[str]) -> list[Run]:
    """All commands. The first command of each task trains and measures what the others reuse."""
    found = [Run("vit digits", "digits"), Run("bert sentences", "sentences", "bert")]
    found += [Run("untrained", "digits", recipe="none")]
    found += [Run(name, "digits", recipe=name) for name in ("golden-pgd-at", "golden-trades")]
    found += [Run(f"task {task}", task) for task in ("digits-32", "digits-sequence", "planted-64", "listops-64")]
    found += [Run("timm", "digits", "timm:test_vit;pretrained=false")]
    for variant in variants:
        found += [Run(f"{variant} {task}", task, variant) for task in ("digits", "sentences", "sentences-lm")]
    stressors = [("digits", "vit", name) for name in IMAGES] + [("sentences", "bert", name) for name in TEXTS]
    stressors += [(task, "vit", name) for task, name in OTHERS]
    found += [Run(name, task, variant, more=("--stressor", name)) for task, variant, name in stressors]
    first: dict[str, Run] = {}
    for run in found:
        first.setdefault(run.name, run)
    return list(first.values())


# The functions below run in a process of one version, with the package of that version on the path.


def defining(pattern: str) -> ModuleType:
    """Import the module of the package whose source has a line that begins with ``pattern``."""
    spec = find_spec("robustbench_wb")
    root = Path(str(spec.origin if spec is not None else "")).parent
    for path in sorted(root.rglob("*.py")):
        if re.search(f"^{pattern}", path.read_text(encoding="utf-8"), re.MULTILINE):
            return import_module(".".join([root.name, *path.relative_to(root).with_suffix("").parts]))
    raise SystemExit(f"no module under {root} has a line that begins with {pattern!r}")


def golden(task: str, scale: str) -> Any:
    """Standard training recipe with three optimiser steps."""
    return _short("standard", task, scale)


def golden_pgd_at(task: str, scale: str) -> Any:
    """PGD adversarial training recipe with three optimiser steps."""
    return _short("pgd-at", task, scale)


def golden_trades(task: str, scale: str) -> Any:
    """TRADES recipe with three optimiser steps."""
    return _short("trades", task, scale)


def _short(name: str, task: str, scale: str) -> Any:
    recipe = defining("RECIPES").RECIPES.get(name)(task, scale)
    return recipe.model_copy(update={"epochs": 1, "train_samples": 48, "batch": 16})


def typed(*words: str) -> tuple[int, str]:
    """Run a command of the command line in this process, and return its exit code and standard output."""
    out, code = io.StringIO(), 0
    sys.argv = ["robustbench-wb", *words]
    # The command line wants a real file for the place of a crash.
    with tempfile.TemporaryFile("w", encoding="utf-8") as said, redirect_stdout(out), redirect_stderr(said):
        try:
            import_module("robustbench_wb.__main__").main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return code, out.getvalue()


def listed_runs() -> list[Run]:
    """All commands, with the variants of this version."""
    return runs(entry["name"] for entry in json.loads(typed("list", "variants", "--json")[1])["variants"])


def add_recipes() -> None:
    """Register the short training recipes."""
    recipes = defining("RECIPES").RECIPES
    for name in ("golden", "golden-pgd-at", "golden-trades"):
        recipes.add(name, f"__main__:{name.replace('-', '_')}", "a few steps")


def measure(folder: Path, listing: Path | None, only: Sequence[str] = ("",)) -> None:
    """Run the commands whose names begin with one of ``only``.

    Outcomes, keys and digests go to ``golden.json`` in the folder.
    The new version computes its digests with the list of equivalences that is to be continued, ``listing``.
    """
    if listing is not None:
        defining("def earliest").LISTED = listing  # type: ignore[attr-defined]
    source = defining("def code_digest")
    original: Callable[..., str] = source.code_digest
    asked: dict[str, None] = {}

    def recorded(*modules: str, **named: Any) -> str:
        found = original(*modules, **named)
        asked[found] = None
        return found

    source.code_digest = recorded  # type: ignore[attr-defined]
    add_recipes()
    found, measuring = Golden(), ("--batch-size", "16", "--progress", "none")
    known: set[str] = set()
    for run in listed_runs():
        if not run.name.startswith(tuple(only)):
            continue
        asked.clear()
        code, _ = typed("run", *run.arguments, *measuring, "--results", str(folder / "results"))
        records = {key: outcome for key, outcome in read(folder / "results").items() if key not in known}
        known |= set(records)
        found.digests[run.name] = list(asked)
        found.outcomes[run.name] = dict(records.values())
        found.keys[run.name] = {what: key for key, (what, _) in records.items()}
        print(f"{run.name}: {len(records)} records, exit code {code}", file=sys.stderr, flush=True)
    (folder / "golden.json").write_text(json.dumps(vars(found)))


def read(results: Path) -> dict[str, tuple[str, str]]:
    """Identity of the measured cell and digest of the outcome of every record, by the key of the record."""
    from deltalake import DeltaTable

    if not (results / "records").is_dir():
        return {}
    found = {}
    for row in DeltaTable(results / "records").to_pyarrow_table().to_pylist():
        identity = json.loads(row["identity"])
        arrays = {name: hashlib.sha256(repr(row[name]).encode()).hexdigest() for name in ARRAYS}
        # Releases differ in whether the verdict without a search takes one pass or two.
        arrays["forwards"] = hashlib.sha256(repr([n and max(n, 2) for n in row["forwards"]]).encode()).hexdigest()
        outcome = {**arrays, **{name: row[name] for name in OUTCOME}}
        what = json.dumps([identity[name] for name in MEASURED if name != "weights"])
        digest = hashlib.sha256(json.dumps([identity["weights"], outcome], sort_keys=True).encode()).hexdigest()
        found[row["key"]] = (what, digest)
    return found


def check(folder: Path, listing: Path, *, names: Sequence[str], unequal: Sequence[str]) -> None:
    """Write ``lost.json``: old cells that this version does not reuse with a list of equivalences, or reuses wrongly.

    Args:
        folder: folder of the old version's results, where the file is written.
        listing: file of the list of equivalences.
        names: names of the runs to check.
        unequal: keys of old records whose outcomes the new version does not repeat. If there are any, only wrong reuse
            is reported.
    """
    defining("def earliest").LISTED = listing  # type: ignore[attr-defined]
    add_recipes()
    lost: list[Any] = []
    for run in listed_runs():
        if run.name in names:
            code, out = typed("explain", *run.arguments, "--results", str(folder / "results"), "--json")
            if code:
                lost.append([run.name, f"exit code {code} of explain"])
                continue
            for cell in json.loads(out)["cells"]:
                if cell["outcome"] != "reused" and not unequal:
                    lost.append([run.name, cell["outcome"], cell["reason"], cell["changes"]])
                elif cell["outcome"] == "reused" and cell["key"] in unequal:
                    lost.append([run.name, "reused in spite of an unequal outcome", cell["key"]])
    (folder / "lost.json").write_text(json.dumps(lost))  # the command line may have changed standard output


# The functions below compare two versions.


def start(tree: Path, folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start this script in a process of the version in ``tree``, with a cache of its own in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = {"RBWB_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    return subprocess.Popen(command, cwd=folder, env={**os.environ, **cache}, stdout=subprocess.PIPE, text=True)


def load(tree: Path, folder: Path) -> Golden:
    """Read what :func:`measure` wrote for the version in ``tree``, and add its commit."""
    found = Golden(**json.loads((folder / "golden.json").read_text()))
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tree, capture_output=True, text=True, check=False)
    found.commit = asked.stdout.strip()
    return found


def membership(golden: Golden, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Names of the runs that computed each code digest, in the order in which digests were first computed."""
    found: dict[str, list[str]] = {}
    for name in names:
        for digest in golden.digests[name]:
            found.setdefault(digest, []).append(name)
    return {digest: tuple(where) for digest, where in found.items()}


def pair_up(old: Golden, new: Golden, names: Sequence[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Pair digests of both versions that stand for the same code, each with its runs.

    Digests that the same runs computed are paired in order. Where files were split or merged, the remaining digests are
    paired if a run has exactly one of each version left.
    """
    before, after = membership(old, names), membership(new, names)
    groups: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
    for side, members in enumerate((before, after)):
        for digest, where in members.items():
            groups.setdefault(where, ([], []))[side].append(digest)
    pairs = [
        (one, other, where)
        for where, (ones, others) in groups.items()
        if len(ones) == len(others)
        for one, other in zip(ones, others, strict=True)
    ]
    done_old, done_new = {one for one, _, _ in pairs}, {other for _, other, _ in pairs}
    rest: dict[tuple[str, str], list[str]] = {}
    for name in names:
        ones = [digest for digest in old.digests[name] if digest not in done_old]
        others = [digest for digest in new.digests[name] if digest not in done_new]
        if len(ones) == len(others) == 1:
            rest.setdefault((ones[0], others[0]), []).append(name)
    return pairs + [(one, other, tuple(where)) for (one, other), where in rest.items()]


def proven(
    pairs: Sequence[tuple[str, str, tuple[str, ...]]], failed: set[str]
) -> list[tuple[str, str, tuple[str, ...]]]:
    """Keep the pairs that are not contradicted by a run with unequal outcomes (``failed``).

    A pair that only runs of stressors use needs equal outcomes in all of them. Pairs of models, training and data need
    equal outcomes in their runs without a stressor. A failed run without a stressor counts only against pairs of which
    all such runs failed, if there are any.
    """
    plain = {pair: {name for name in pair[2] if ";" not in name} for pair in pairs}
    blamed = [pair for pair in pairs if plain[pair] and plain[pair] <= failed]
    excused = {name for pair in blamed for name in plain[pair]}
    return [
        pair
        for pair in pairs
        if pair not in blamed and ((plain[pair] & failed) <= excused if plain[pair] else not set(pair[2]) & failed)
    ]


def entries(
    old: Golden, new: Golden, listed: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """The list with the new pairs, the names of the runs with equal outcomes, and messages."""
    common = [name for name in old.digests if name in new.digests]
    measured = [name for name in common if old.outcomes[name] and new.outcomes[name]]
    failed = {name for name in measured if old.outcomes[name] != new.outcomes[name]}
    said = [f"not measured in both versions: {name}" for name in old.digests if name not in measured]
    said += [f"unequal outcomes: {name}" for name in measured if name in failed]
    pairs = pair_up(old, new, measured)
    good = proven(pairs, failed)
    said += [
        f"not listed: {one} and {other} ({where[0]})" for one, other, where in pairs if (one, other, where) not in good
    ]
    found = [dict(entry) for entry in listed]
    known = {(entry["old"], entry["new"]) for entry in listed}
    for one, other, where in good:
        if one != other and (one, other) not in known:
            outcomes = {name: new.outcomes[name] for name in where if name not in failed}
            evidence = {
                "golden": hashlib.sha256(json.dumps(outcomes, sort_keys=True).encode()).hexdigest(),
                "records": sum(len(outcome) for outcome in outcomes.values()),
                "runs": len(outcomes),
                "samples": SAMPLES,
                "first_runs": list(outcomes)[:4],
                "old_commit": old.commit,
            }
            found.append({"old": one, "new": other, "kind": kind_of(where), "evidence": evidence})
    return found, [name for name in measured if name not in failed], said


def kind_of(where: Sequence[str]) -> str:
    """Kind of code that a digest stands for, by the names of the runs that computed the digest."""
    if all(";" in name for name in where):
        return "stressor"
    variants = {name.partition(" ")[0] for name in where if name.partition(" ")[2] in ("digits", "sentences")}
    return "model" if len(variants) == 1 else "shared" if variants else "other"


def compare(old_tree: Path, folder: Path, *, listing: Path, only: Sequence[str], write: bool, fresh: bool) -> int:
    """Compare this version with an old one, and print the equivalences.

    Returns:
        Number of cells that the list would reuse wrongly: 0 is success. The list is written only then.
    """
    listed = [] if fresh else json.loads(listing.read_text())["equivalences"]
    folder.mkdir(parents=True, exist_ok=True)
    trial = folder / "equivalences.json"
    trial.write_text(written(listed))
    some = [word for name in only for word in ("--only", name)]
    working = [start(HERE, folder / "new", "--measure", str(folder / "new"), "--list", str(trial), *some)]
    if not (folder / "old" / "golden.json").is_file():
        working.append(start(old_tree, folder / "old", "--measure", str(folder / "old"), *some))
    codes = [process.wait() for process in working]
    if any(codes):
        print("a version could not run the golden cells")
        return 1
    old, new = load(old_tree, folder / "old"), load(HERE, folder / "new")
    found, equal, said = entries(old, new, listed)
    trial.write_text(written(found))
    unequal = [
        (name, old.keys[name][what])
        for name in old.digests
        for what, outcome in old.outcomes[name].items()
        if name not in equal and new.outcomes.get(name, {}).get(what) != outcome
    ]
    # Equal code must find every old record; code with other outcomes must find none.
    lost = checked(folder, trial, names=equal, unequal=[])
    wrong: list[Any] = []
    if unequal:
        wrong = checked(folder, trial, names=[name for name, _ in unequal], unequal=[key for _, key in unequal])
    print("\n".join([*said, *(f"would be measured again: {item}" for item in lost), *map(str, wrong)]))
    print(f"{len(found) - len(listed)} new pairs, {len(equal)} runs with equal outcomes, {len(lost)} cells not reused")
    if wrong:
        print("the list is not written: with it, records would be reused that this version does not repeat")
    elif write:
        listing.write_text(written(found))
    return len(wrong)


def checked(folder: Path, listing: Path, *, names: Sequence[str], unequal: Sequence[str]) -> list[Any]:
    """Cells that :func:`check` writes, in a process of the new version with the old results and cache."""
    (folder / "check.json").write_text(json.dumps([list(names), list(unequal)]))
    process = start(HERE, folder / "old", "--check", str(folder / "old"), str(listing), str(folder / "check.json"))
    process.communicate()
    said: list[Any] = json.loads((folder / "old" / "lost.json").read_text())
    return said


def written(found: Sequence[Mapping[str, Any]]) -> str:
    """JSON text of a list of equivalences, one per line."""
    lines = ",\n".join("  " + json.dumps(entry, sort_keys=True) for entry in found)
    return f'{{"equivalences": [\n{lines}\n]}}\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, help="another checkout of this repository; it is not changed")
    parser.add_argument("--write", action="store_true", help="write the list in the package")
    parser.add_argument("--fresh", action="store_true", help="begin with an empty list instead of the existing one")
    parser.add_argument(
        "--keep", type=Path, help="folder for the results of both versions; the old one is measured once"
    )
    parser.add_argument("--only", action="append", help="beginning of the names of runs; may be repeated; default: all")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--list", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--check", type=Path, nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    only = asked.only or [""]
    if asked.measure is not None:
        measure(asked.measure, asked.list, only)
        return 0
    if asked.check is not None:
        names, unequal = json.loads(asked.check[2].read_text())
        check(asked.check[0], asked.check[1], names=names, unequal=unequal)
        return 0
    if asked.old is None:
        parser.error("--old is needed")
    sys.path.insert(0, str(HERE))
    listing = Path(str(defining("def earliest").LISTED))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.keep or Path(temporary)).resolve()
        return compare(asked.old.resolve(), folder, listing=listing, only=only, write=asked.write, fresh=asked.fresh)


if __name__ == "__main__":
    raise SystemExit(main())
