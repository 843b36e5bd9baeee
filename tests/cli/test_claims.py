"""``claims check`` through the command: every verdict, every exit code, every output, on small real tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from robustbench_wb.cli.app import run_cli
from robustbench_wb.layers.table import LayerTable
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import canonical_json
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.report.sample import graded
from tests.store.make import record, row, scored, states, text_row

Command = Callable[..., tuple[str, str]]
Made = list[tuple[Record | None, ScoreRow]]
PGD = "pgd-linf eps=8/255"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Command) -> Command:
    """Check sentences, which must end with ``code``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def checked(*arguments: str, claims: list[str] | None = None, context: str = "", code: int = 0) -> tuple[str, str]:
        if claims is not None:
            Path("claims.toml").write_text(f"{context}\nclaims = {json.dumps(claims)}\n")
        return typed("claims", "check", "claims.toml", *arguments, code=code)

    return checked


def subject(variant: str, clean: list[int], attacked: list[int], *, seed: int = 0, **changes: Any) -> Made:
    """Two cells of one checkpoint of 1,000 samples."""
    weights = f"{variant}{seed}"
    first = record(clean, weights=weights, signature="clean", ladder=(), seed=seed)
    second = record(attacked, weights=weights, seed=seed, **changes)
    rows = (
        row(first, variant=variant, stressor="clean", strength="", seed=seed),
        row(second, variant=variant, seed=seed),
    )
    return [(first, rows[0]), (second, rows[1])]


def commit(*made: Made, place: str = "results") -> None:
    cells = [cell for some in made for cell in some]
    for measured, _ in cells:
        if measured is not None:
            RecordStore(place).append(measured)
    ScoreTable(place).commit([committed for _, committed in cells], {})


@pytest.fixture
def table(command: Command) -> Command:
    """vit: 99 % clean, 80 % attacked. crate loses 10 points under attack, bert nothing."""
    vit = subject("vit", states(990, 10), states(800, 200))
    crate = subject("crate", states(990, 10), states(700, 300))
    bert = subject("bert", states(990, 10), states(800, 200))
    commit(vit, crate, bert)
    return command


def verdicts(command: Command, claims: list[str], *arguments: str, code: int = 0, context: str = "") -> list[str]:
    out, _ = command(*arguments, "--json", claims=claims, code=code, context=context)
    content = json.loads(out)
    assert content["exit_code"] == code
    return [claim["verdict"] for claim in content["claims"]]


def test_0_every_relation_that_holds(table: Command) -> None:
    true = [
        f"bert-nano is not worse than vit-nano at {PGD} by more than 1 point",
        f"vit-nano is better than crate-nano at {PGD} by more than 5 points",
        "vit is better than crate plain at pgd-linf@8/255",
        f"crate-nano is worse than vit-nano at {PGD}",
        f"crate-nano is not better than vit-nano at {PGD} by more than 1 point",
        f"bert-nano is equivalent to vit-nano at {PGD}, clean to within 1 point",
        "crate-nano is worse than vit-nano at all cells by more than 3 points",
        "crate-nano seed 0 is worse than vit-nano plain seed 0 at pgd-* by more than 3 points",
        "vit-nano has an accuracy of at least 75 % at pgd-linf",
        "vit-nano has an accuracy of at most 85 % at pgd-linf",
        "vit-nano has an accuracy of at least 85 % at all cells",
    ]
    assert verdicts(table, true) == ["holds"] * len(true)


def test_1_every_relation_that_is_refuted(table: Command) -> None:
    false = [
        f"crate-nano is not worse than vit-nano at {PGD} by more than 5 points",
        f"crate-nano is better than vit-nano at {PGD}",
        f"bert-nano is better than vit-nano at {PGD} by more than 2 points",
        f"vit-nano is worse than crate-nano at {PGD}",
        f"vit-nano is not better than crate-nano at {PGD} by more than 5 points",
        f"crate-nano is equivalent to vit-nano at {PGD} to within 5 points",
        f"vit-nano has an accuracy of at least 90 % at {PGD}",
        "vit-nano has an accuracy of at most 85 % at all cells",
    ]
    assert verdicts(table, false, code=1) == ["refuted"] * len(false)


def test_undecided_fails_only_when_strict(table: Command) -> None:
    claims = [f"vit-nano is better than crate-nano at {PGD} by more than 9.5 points"]
    out, _ = table(claims=claims)
    assert out.startswith("claims.toml on v1: 1 undecided\n")
    assert "minimum detectable effect: 2.4 points" in out
    assert "(exit code 1)" in table("--strict", claims=claims, code=1)[0]


def test_what_a_sentence_rests_on_is_shown(table: Command) -> None:
    out, _ = table(claims=[f"vit-nano is better than crate-nano at {PGD}"])
    assert "difference +10.0 [+8.3, +12.0] points, n 1000, one-sided p <0.0001, Holm-adjusted <0.0001; this " in out
    assert "; this checkpoint (seed 0)" in out
    keys = [record(states(800, 200), weights="vit0").key, record(states(700, 300), weights="crate0").key]
    assert f"pgd-linf;eps=8/255;steps=40: {keys[0][:12]} and {keys[1][:12]}" in out
    content = json.loads(table("--json")[0])
    assert [content["claims"][0]["cited"][0][name] for name in ("key", "than_key")] == keys


def test_all_sentences_of_a_file_are_one_family(command: Command) -> None:
    """0 against 6 is 1/64, one-sided: alone it holds, and of four it does not."""
    commit(subject("vit", states(990, 10), states(800, 200)), subject("crate", states(990, 10), states(794, 206)))
    better = f"vit-nano is better than crate-nano at {PGD}"
    (alone,) = json.loads(command("--json", claims=[better])[0])["claims"]
    assert (alone["verdict"], alone["evidence"]["p_holds"]) == ("holds", pytest.approx(1 / 64))
    first, *_ = json.loads(command("--json", claims=[better] * 4)[0])["claims"]
    assert (first["verdict"], first["adjusted_holds"]) == ("undecided", pytest.approx(4 / 64))


def test_another_side_of_the_same_subject(table: Command) -> None:
    commit(_weaker())
    claims = [f"vit-nano is not worse than vit-nano of v1 at {PGD} by more than 1 point"]
    assert verdicts(table, claims, code=1) == ["refuted"]
    assert verdicts(table, claims, "--version", "v1") == ["holds"]
    same = [f"vit-nano is better than vit-nano of v1 at {PGD}"]
    assert verdicts(table, same, "--version", "v1", code=1) == ["refuted"]


def _weaker() -> Made:
    made = record(states(600, 400), weights="later")
    return [(made, row(made, variant="vit"))]


def test_several_seeds_speak_for_the_architecture(command: Command) -> None:
    made = [subject("vit", states(990, 10), states(800 - 5 * seed, 200 + 5 * seed), seed=seed) for seed in range(3)]
    made += [subject("crate", states(990, 10), states(700 + seed, 300 - seed), seed=seed) for seed in range(4)]
    commit(*made)
    out, _ = command(claims=[f"vit-nano is better than crate-nano at {PGD} by more than 3 points"])
    assert "this architecture, 3 seeds (0, 1, 2)" in out
    assert "caution: only one of the two models has seed 3" in out
    claims = ["crate-nano seed 3 is worse than vit-nano seed 0 at pgd-linf"]
    assert verdicts(command, claims) == ["holds"]
    _, err = command(claims=["vit-nano has an accuracy of at least 60 % at clean"], code=2)
    assert "a level is about one checkpoint" in err


def test_perplexities(command: Command) -> None:
    losses = [1.0 + 0.001 * number for number in range(100)]
    made: Made = []
    for variant, shift in (("gpt", 0.0), ("rnn", 0.3)):
        one = scored([loss + shift for loss in losses], weights=variant)
        made.append((one, text_row(one, variant=variant)))
    commit(made)
    true = [
        "rnn-nano is worse than gpt-nano at clean by more than 20 percent",
        "gpt-nano is not worse than rnn-nano at clean by more than 1 %",
        "gpt-nano has a perplexity of at most 3 at clean",
        "rnn-nano has a perplexity of at least 3.8 at all cells",
    ]
    assert verdicts(command, true) == ["holds"] * 4
    out, _ = command(claims=true)
    assert "difference +35.0% [+35.0%, +35.0%], n 100" in out
    false = [
        "rnn-nano is not worse than gpt-nano at clean by more than 20 %",
        "gpt has a perplexity of at least 3 at clean",
    ]
    assert verdicts(command, false, code=1) == ["refuted", "refuted"]
    _, err = command(claims=["rnn-nano is worse than gpt-nano at clean by more than 1 point"], code=2)
    assert "the metric of its cells is perplexity; give the limit in percent" in err


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"signature": "pgd-linf;eps=8/255;steps=100"}, "signature: pgd-linf;eps=8/255;steps=40 and pgd-linf"),
        ({"data": "other"}, "data: data and other"),
        ({"numerics": "cuda"}, "numerics: cpu;float32;torch-2.13 and cuda"),
        ({"stressor_code": "newer"}, "stressor_code: code and newer"),
    ],
)
def test_3_what_may_not_be_compared(change: dict[str, Any], field: str, command: Command) -> None:
    other = subject("crate", states(990, 10), states(100, 900), **change)
    commit(subject("vit", states(990, 10), states(800, 200)), other)
    out, _ = command(claims=["crate-nano is worse than vit-nano at all cells"], code=3)
    assert out.startswith("claims.toml on v1: 1 not comparable (exit code 3)\n")
    assert field in out


def test_3_without_a_common_seed(command: Command) -> None:
    commit(subject("vit", states(99, 1), states(80, 20)), subject("crate", states(99, 1), states(7, 93), seed=1))
    out, _ = command(claims=["crate-nano is worse than vit-nano at clean"], code=3)
    assert "the two models have no seed in common: 1 and 0" in out


def test_4_what_is_missing(table: Command) -> None:
    claims = [
        "vitt-nano is better than crate-nano at clean",
        "vit-nano is better than crate-nano at pgd-linf eps=9/255",
        "vit-nano seed 7 has an accuracy of at least 50 % at clean",
    ]
    out, _ = table(claims=claims, code=4)
    assert "there is no vitt-nano; did you mean vit-nano or" in out
    assert "vit-nano has no cell pgd-linf eps=9/255; did you mean pgd-linf@8/255?" in out
    assert "there is no vit-nano seed 7" in out
    commit(_weaker()[:1], subject("gpt", states(990, 10), states(700, 300))[:1])
    out, _ = table(claims=["gpt-nano is worse than vit-nano at clean", "vit is better than gpt at all cells"], code=4)
    assert "only one of the two models has pgd-linf@8/255 (seed 0)" in out


def test_4_rows_without_records(table: Command) -> None:
    """A published table has levels of single cells, and no pairs."""
    assert run_cli(["leaderboard", "--csv", "board.csv"]) == 0
    Path("results").rename("gone")
    level = f"vit-nano has an accuracy of at least 75 % at {PGD}"
    assert verdicts(table, [level], "--version", "board.csv") == ["holds"]
    pair = f"crate-nano is worse than vit-nano at {PGD}"
    out, _ = table("--version", "board.csv", claims=[pair, level], code=4)
    assert "the outcomes of the samples are not in the store: pgd-linf@8/255" in out
    assert verdicts(table, [pair, level], "--version", "board.csv", "--results", "gone") == ["holds", "holds"]


def test_4_samples_that_were_not_judged_decide_nothing(command: Command) -> None:
    made = record(states(780, 200, errored=20), weights="broken")
    failed = row(None, 1000, "SubjectError: no logits", variant="gpt")
    commit(
        subject("vit", states(990, 10), states(800, 200)),
        subject("crate", states(990, 10), states(600, 400)),
        [(made, row(made, variant="bert", error="NaN")), (None, failed)],
    )
    claims = [
        f"bert-nano is better than crate-nano at {PGD}",
        f"bert-nano is worse than vit-nano at {PGD} by more than 1 point",
    ]
    assert verdicts(command, claims, code=4) == ["holds", "incomplete"]
    out, _ = command(
        claims=[f"gpt-nano is worse than vit-nano at {PGD}", "gpt has an accuracy of at most 1 % at pgd-linf"], code=4
    )
    assert out.count("caution: gpt-nano: SubjectError: no logits: pgd-linf@8/255") == 1
    assert out.count("caution: gpt: SubjectError: no logits: pgd-linf@8/255") == 1
    assert out.count("not all samples were judged") == 2


def test_numbers_that_are_upper_bounds_are_named(command: Command) -> None:
    first, (made, shown) = subject("vit", states(990, 10), states(800, 200))
    commit([first, (made, graded(shown, "C", "gradient", 0.5, "no gradient"))])
    out, _ = command(claims=[f"vit-nano has an accuracy of at least 75 % at {PGD}"])
    assert "caution: vit-nano has grade C, an upper bound: pgd-linf@8/255" in out


def test_the_context_names_what_is_meant(table: Command) -> None:
    commit(
        [(made, shown.model_copy(update={"suite": "other"})) for made, shown in subject("vit", states(990, 10), [0])]
    )
    claims = ["vit-nano has an accuracy of at least 90 % at clean"]
    _, err = table(claims=claims, code=2)
    assert "vit-nano has rows with suite adversarial and other; name one of them" in err
    assert verdicts(table, claims, context='suite = "adversarial"\nscale = "small"\ntask = "digits"') == ["holds"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("claims = ['vit beats crate at clean']", "cannot read 'vit beats crate at clean'; write it like 'vit-nano is"),
        ("claims = ['vit is not worse than crate at clean']", "has no margin"),
        ("claims = ['vit is worse than crate at clean by more than one point']", "cannot read"),
        (
            "claims = ['vit is worse than crate at clean by more than 100 points']",
            "100 must be at least 0 and below 100",
        ),
        ("claims = ['vit has a perplexity of at most 0.5 at clean']", "a perplexity is at least 1"),
        (
            "claims = ['vit is worse than crate at clean by more than 1 %']",
            "the metric of its cells is accuracy; give the limit in points",
        ),
        ("claims = ['vit is worse than vit of v9 at clean']", "there is no version 'v9'"),
        ("claims = []", "has no claims"),
        ("[[claims]]\nclaim = 'vit is better than crate at clean'\nsuit = 'x'", "is no claim; write a sentence, or"),
        ("claims = [3]", "3 is no claim"),
        ("sentences = ['x']", "has no claims"),
        (
            "claims = ['vit has an accuracy of at least 5 % at clean']\nseed = 3",
            "besides claims, only the texts task, suite and scale are allowed",
        ),
        ("claims = ", "cannot be read"),
    ],
)
def test_2_mistakes_are_one_clear_line(text: str, words: str, table: Command) -> None:
    Path("claims.toml").write_text(text)
    out, err = table(code=2)
    assert words in err
    assert (out, err.count("\n")) == ("", 1)


def test_2_options(table: Command) -> None:
    good = ["vit has an accuracy of at least 5 % at clean"]
    for arguments, words in (
        (("--json", "--markdown", "-"), "cannot both write to standard output"),
        (("--junit", "no/folder/x.xml"), "cannot be written"),
        (("--version", "v9"), "there is no version 'v9'"),
    ):
        assert words in table(*arguments, claims=good, code=2)[1]


def test_the_outputs(table: Command) -> None:
    claims = [
        f"vit-nano is better than crate-nano at {PGD}",
        f"vit-nano is worse than crate-nano at {PGD}",
        "gpt is better than crate at clean",
    ]
    out, _ = table("--junit", "claims.xml", "--markdown", "-", claims=claims, code=1)
    assert out.startswith("# claims.toml on v1: 1 hold, 1 refuted, 1 incomplete (exit code 1)\n")
    assert f"## holds: {claims[0]}" in out
    root = Xml.parse("claims.xml").getroot()
    assert [root.get(name) for name in ("tests", "failures", "errors")] == ["3", "1", "1"]
    assert [case[0].tag for case in root.iter("testcase")] == ["system-out", "failure", "error"]


def test_the_metric_of_a_sentence_about_layers_is_its_measure(command: Command) -> None:
    sparsity = np.linspace([0.5] * 50, [0.3] * 50, 3) + np.linspace(0, 0.01, 50)
    table = LayerTable(np.arange(50, dtype=np.int64), {"sparsity": sparsity})
    layers = canonical_json({"n": 50, "measures": table.plain(), "drift": {}})
    commit(
        [
            (key, one.model_copy(update={"layers": layers}))
            for key, one in subject("vit", states(990, 10), states(800, 200))
        ]
    )
    claims = ["vit-nano has a falling sparsity at clean", "vit-nano has an accuracy of at least 80 % at clean"]
    found = json.loads(command("--json", claims=claims)[0])["claims"]
    assert [claim["metric"] for claim in found] == ["sparsity", "accuracy"]


def test_a_claim_of_a_table_has_a_source_and_a_place_of_its_own(table: Command) -> None:
    claim = f"claim = 'vit-nano is better than crate-nano at {PGD}'"
    elsewhere = f"[[claims]]\n{claim}\ntask = 'fashion-mnist'\nsource = 'A et al. 2026'"
    Path("claims.toml").write_text(f"suite = 'adversarial'\n[[claims]]\n{claim}\ntask = 'digits'\n{elsewhere}\n")
    out, _ = table(code=4)
    assert out.startswith("claims.toml on v1: 1 hold, 1 incomplete (exit code 4)\n")
    assert "fashion-mnist, adversarial; claimed by A et al. 2026\nthe table has no rows of fashion-mnist" in out


def test_the_published_table_bears_out_eight_claims_and_refutes_none(command: Command) -> None:
    results = Path(__file__).parents[2] / "results"
    Path("claims.toml").write_bytes((results / "published" / "claims.toml").read_bytes())
    table = str(results / "published" / "adversarial-digits-smoke.parquet")
    out, _ = command("--version", table)
    assert out.splitlines()[0].endswith(": 8 hold, 1 undecided")
