"""Experiments: tasks x variants x recipes x suites x seeds, as one frozen value that is cut into requests."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from robustbench_wb.engine.request import RunRequest, validated
from robustbench_wb.errors import UsageError
from robustbench_wb.registry import suggest_names
from robustbench_wb.suites.default_suite import IMAGES, default_suite
from robustbench_wb.suites.suite import find_suite
from robustbench_wb.text_files import is_file, parse_toml, read_text, reason_of

MAX_SEEDS: Final = 1000
"""Largest number of seeds of an experiment."""

SINGULAR: Final = {"suites": "suite", "recipes": "recipe", "seeds": "seed"}
"""Lists of an experiment that are single values of a request."""
SETTINGS: Final = frozenset(RunRequest.model_fields) - {"tasks", "variants", *SINGULAR.values()}
"""Fields of a request that all parts of an experiment share."""


_LISTS: Final = ("stressors", "epsilons")
"""Settings that are lists, for which a single name may stand."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Combinations of an experiment: those that have one of the given values in every list that is given."""

    tasks: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    recipes: tuple[str, ...] | None = None
    suites: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The lists that are given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


AXES: Final = tuple(axis.name for axis in fields(Selection))
"""Names of the lists whose product is an experiment."""


class Combination(NamedTuple):
    """One model on one task under one suite."""

    suite: str
    recipe: str
    seed: int
    task: str
    variant: str


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A run over several suites, recipes and seeds: one plan, one forecast and one version of the score table."""

    settings: RunRequest = field(default_factory=RunRequest)
    """What all parts share. Its suite, tasks, variants, recipe and seed do not count."""
    axes: Selection = Selection()
    """Lists whose product is run. Missing tasks and variants are those of each suite, missing suites those of the kind
    of each task, the missing recipe is ``standard`` and the missing seed 0."""
    include: tuple[Selection, ...] = ()
    """Further combinations; lists that they do not give are those of ``axes``."""
    exclude: tuple[Selection, ...] = ()
    """Combinations of ``axes`` that are left out; names may have wildcards."""

    @property
    def combinations(self) -> tuple[Combination, ...]:
        """Combinations in the order of the file: those of the lists without ``exclude``, then those of ``include``.

        Raises:
            UsageError: a name is unknown, an entry of ``exclude`` fits no combination, or nothing is left.
        """
        found = dict.fromkeys(self._combinations(self.axes))
        for entry in self.exclude:
            left_out = [one for one in found if _fits(one, entry)]
            if not left_out:
                raise UsageError(f"exclude {_shown(entry)} fits no combination of the experiment; correct or remove it")
            for one in left_out:
                del found[one]
        for entry in self.include:
            found.update(dict.fromkeys(self._combinations(replace(self.axes, **entry.given))))
        if not found:
            raise UsageError("nothing is left of the experiment; exclude less")
        return tuple(found)

    @property
    def requests(self) -> tuple[RunRequest, ...]:
        """Requests whose runs are the experiment, each with one suite, recipe and seed.

        Raises:
            UsageError: see ``combinations``.
        """
        plain = not (self.include or self.exclude)
        return tuple(self._plain_requests() if plain else self._grouped(self.combinations))

    def _plain_requests(self) -> Iterator[RunRequest]:
        """Requests of the whole product, which keep the default tasks and variants of a suite as defaults."""
        axes = self.axes
        for suite, tasks in _suites(axes).items():
            for recipe, seed in product(axes.recipes or ("standard",), axes.seeds or (0,)):
                yield self._request(suite, recipe, seed=seed, tasks=tasks, variants=axes.variants)

    def _combinations(self, axes: Selection) -> Iterator[Combination]:
        for name, tasks in _suites(axes).items():
            suite = find_suite(name)
            tasks = suite.default_tasks(self.settings.scale) if tasks is None else tasks
            variants = suite.default_variants(self.settings.scale) if axes.variants is None else axes.variants
            for recipe, seed, task, variant in product(
                axes.recipes or ("standard",), axes.seeds or (0,), tasks, variants
            ):
                yield Combination(suite=name, recipe=recipe, seed=seed, task=task, variant=variant)

    def _grouped(self, found: Iterable[Combination]) -> Iterator[RunRequest]:
        """Requests of combinations: tasks with the same models are in one request."""
        groups: dict[tuple[str, str, int], dict[str, list[str]]] = {}
        for one in found:
            tasks = groups.setdefault((one.suite, one.recipe, one.seed), {})
            tasks.setdefault(one.task, []).append(one.variant)
        for (suite, recipe, seed), by_task in groups.items():
            together: dict[tuple[str, ...], list[str]] = {}
            for task, variants in by_task.items():
                together.setdefault(tuple(variants), []).append(task)
            for models, names in together.items():
                yield self._request(suite, recipe, seed=seed, tasks=tuple(names), variants=models)

    def _request(
        self, suite: str, recipe: str, *, seed: int, tasks: tuple[str, ...] | None, variants: tuple[str, ...] | None
    ) -> RunRequest:
        update = {"suite": suite, "recipe": recipe, "seed": seed, "tasks": tasks, "variants": variants}
        return self.settings.model_copy(update=update)


def _suites(axes: Selection) -> dict[str, tuple[str, ...] | None]:
    """Suites with their tasks; None: the default tasks of the suite."""
    if axes.suites is not None:
        return dict.fromkeys(axes.suites, axes.tasks)
    if axes.tasks is None:
        return {IMAGES: None}
    found: dict[str, tuple[str, ...] | None] = {}
    for task in axes.tasks:
        suite = default_suite(task)
        found[suite] = (*(found.get(suite) or ()), task)
    return found


def _fits(one: Combination, entry: Selection) -> bool:
    texts = {name: str(getattr(one, name.removesuffix("s"))) for name in AXES}
    return all(any(fnmatchcase(texts[name], str(value)) for value in values) for name, values in entry.given.items())


def _shown(entry: Selection) -> str:
    return "; ".join(f"{name} = {', '.join(map(str, values))}" for name, values in entry.given.items())


def experiment_of(given: Mapping[str, object], where: str = "") -> Experiment:
    """An experiment of lists and settings by name, as a file holds them.

    Args:
        given: lists (``tasks``, ``variants``, ``recipes``, ``suites``, ``seeds``), the fields of a request that all
            parts share, and ``include`` and ``exclude``, lists of mappings of the lists.
        where: what holds them, for messages; empty for arguments.

    Raises:
        UsageError: a name is unknown, or a value is out of range.
    """
    prefix = f"{where}: " if where else ""
    _refuse_unknown(given, (*AXES, *sorted(SETTINGS), "include", "exclude"), prefix)
    entries = {name: _entries(name, given.get(name, ()), prefix) for name in ("include", "exclude")}
    return Experiment(
        settings=_settings({name: value for name, value in given.items() if name in SETTINGS}, prefix),
        axes=_selection({name: given[name] for name in AXES if given.get(name) is not None}, prefix),
        include=entries["include"],
        exclude=entries["exclude"],
    )


def read_experiment(path: str | Path, **overrides: object) -> Experiment:
    """Read an experiment file (TOML).

    Args:
        path: the file.
        **overrides: lists and settings that replace those of the file.

    Raises:
        UsageError: the file cannot be read, or holds a wrong key or value; the message names the nearest key.
    """
    if not is_file(Path(path)):
        raise UsageError(f"experiment file {path} does not exist")
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"experiment file {path} cannot be read as text: {reason_of(error)}") from error
    try:
        content = parse_toml(text)
    except ValueError as error:
        raise UsageError(f"experiment file {path} is not TOML: {reason_of(error)}") from error
    experiment_of(content, f"experiment file {path}")  # also where options replace what is wrong
    return experiment_of({**content, **overrides}, "")


def parse_seeds(given: object) -> tuple[int, ...]:
    """Seeds from a number, text like ``0-2,5``, or a list of these; each seed once.

    Raises:
        UsageError: a part is not a seed or an ascending range, or there are more than ``MAX_SEEDS``.
    """
    if isinstance(given, int) and not isinstance(given, bool):
        return (given,)
    if isinstance(given, str):
        found = dict.fromkeys(seed for part in given.split(",") for seed in _seed_range(part.strip()))
    elif isinstance(given, Sequence):
        found = dict.fromkeys(seed for part in given for seed in parse_seeds(part))
    else:
        raise UsageError(f"seeds are whole numbers or ranges like 0-2, not {given!r}", "seeds")
    if not 0 < len(found) <= MAX_SEEDS:
        raise UsageError(f"seeds must be 1 to {MAX_SEEDS} numbers, not {len(found)}", "seeds")
    return tuple(found)


def _seed_range(text: str) -> range:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
        raise UsageError(f"seeds are whole numbers or ranges like 0-2, not {text!r}", "seeds")
    return range(int(first), min(int(last or first), int(first) + MAX_SEEDS) + 1)


def _settings(given: Mapping[str, object], prefix: str) -> RunRequest:
    several = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    several |= {name: (value,) for name, value in several.items() if name in _LISTS and isinstance(value, str)}
    try:
        return validated(several)
    except UsageError as error:
        raise UsageError(f"{prefix}{error}", *error.parameters) from None


def _entries(name: str, given: object, prefix: str) -> tuple[Selection, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(entry, Mapping) for entry in given):
        raise UsageError(f"{prefix}{name} is a list of tables; write each as [[{name}]]")
    for entry in given:
        _refuse_unknown(entry, AXES, f"{prefix}{name}: ")
    return tuple(_selection(entry, f"{prefix}{name}: ") for entry in given)


def _refuse_unknown(given: Mapping[str, object], known: Sequence[str], prefix: str) -> None:
    for name in given:
        if name not in known:
            raise UsageError(f"{prefix}unknown key {name!r}; {suggest_names(name, list(known))}")


def _selection(given: Mapping[str, object], prefix: str) -> Selection:
    found: dict[str, tuple[str, ...]] = {}
    for name in (name for name in AXES if name in given and name != "seeds"):
        value = given[name]
        entries = value if isinstance(value, list | tuple) else [value]
        texts = tuple(dict.fromkeys(text for entry in entries for text in _references(name, entry, prefix)))
        if not texts:
            raise UsageError(f"{prefix}a run needs at least one {name.removesuffix('s')}; {name} is empty", name)
        found[name] = texts
    try:
        seeds = parse_seeds(given["seeds"]) if "seeds" in given else None
    except UsageError as error:
        raise UsageError(f"{prefix}{error}", "seeds") from None
    for seed in seeds or ():
        _settings({"seed": seed}, prefix)
    return Selection(**found, seeds=seeds)


def _references(axis: str, entry: object, prefix: str) -> Iterator[str]:
    """Names of an entry: a text, or for variants and recipes a table of a name with numbers, whose lists are swept."""
    if isinstance(entry, str):
        yield entry
        return
    if not isinstance(entry, Mapping) or axis not in ("variants", "recipes") or not isinstance(entry.get("name"), str):
        tables = ', or a table like {name = "crate", lam = [0.05, 0.1]}' if axis in ("variants", "recipes") else ""
        raise UsageError(f"{prefix}{axis}: {entry!r} is not a name{tables}", axis)
    swept = {key: value if isinstance(value, list) else [value] for key, value in entry.items() if key != "name"}
    for values in product(*swept.values()):
        numbers = (f"{key}={_number(value)}" for key, value in zip(swept, values, strict=True))
        yield ";".join([str(entry["name"]), *numbers])


def _number(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
