"""Suite files: all built-in stressors can be built, custom files are read, and mistakes give one-line messages."""

from pathlib import Path

import pytest

from robustbench_wb import suites
from robustbench_wb.engine.plan import make_plan, suite_ladders
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.suite_costs import suite_costs
from robustbench_wb.errors import UnknownNameError, UsageError
from robustbench_wb.spec import parse_exact
from robustbench_wb.stressors.catalogue import parse_stressor, strength_axis
from robustbench_wb.suites.suite import SUITES, Suite, SuiteStressor, find_suite, read_suite

OWN = """
name = "mine"
version = 3
summary = "One attack."

[[stressors]]
use = "clean"

[[stressors]]
use = "pgd-linf;steps=7"
strengths = "radii"

[strengths.radii]
default = ["1/255", "0.5"]
digits = ["1/4"]

[scales.smoke]
samples = 10
size = "nano"
"""


def wrong(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_suite(text, "mine.toml")
    message = str(caught.value)
    assert type(caught.value) is UsageError
    assert message.startswith("suite file mine.toml")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "name", ["clean", "adversarial", "adversarial-as-published", "adversarial-text", "contamination"]
)
def test_built_in_suites(name: str) -> None:
    suite = find_suite(name)
    assert suite.name == name
    assert set(suite.scales) == {"smoke", "small", "full"}
    assert suite.stressors[0] == SuiteStressor(use="clean")
    assert suite.settings("full").samples is None


@pytest.mark.parametrize("task", ["digits", "fashion-mnist", "somebody/new"])
@pytest.mark.parametrize("name", SUITES.names())
def test_every_line_builds_at_every_strength(name: str, task: str) -> None:
    suite = find_suite(name)
    for line in suite.stressors:
        strengths = suite.strengths_for(line, task)
        if strengths is None:
            assert parse_stressor(line.use).signature == line.use
            continue
        exact = [parse_exact(strength) for strength in strengths]
        assert exact == sorted(set(exact))
        head, _, tail = line.use.partition(";")
        strength = f"{strength_axis(head)}={strengths[0]}"
        stressor = parse_stressor(";".join(part for part in (head, strength, tail) if part))
        for strength in strengths:
            there = stressor.at(strength)
            assert there.strength == str(parse_exact(strength))
            assert parse_stressor(there.signature) == there
            for number in filter(None, tail.split(";")):
                assert number in there.signature


def test_a_scale_names_its_tasks_and_a_line_the_tasks_that_it_is_for() -> None:
    plan = make_plan(RunRequest(suite="long-sequence"))
    stressors = {task.task.name: {ladder.rungs[0].name for ladder in task.ladders} for task in plan.tasks}
    assert set(stressors) == {"listops-64", "planted-64"}
    assert "listops-length" in stressors["listops-64"] - stressors["planted-64"]
    assert "planted-facts" in stressors["planted-64"] - stressors["listops-64"]
    small = make_plan(RunRequest(suite="long-sequence", scale="small"))
    assert {task.task.name for task in small.tasks} == {"listops-64", "listops-256", "planted-256", "text-bytes-256"}
    asked = make_plan(RunRequest(suite="long-sequence", scale="small", tasks=("path-x",)))
    assert [task.task.name for task in asked.tasks] == ["path-x"]


@pytest.mark.parametrize("name", find_suite("long-sequence").scales)
def test_the_tasks_of_every_scale_can_be_planned(name: str) -> None:
    plan = make_plan(RunRequest.model_validate({"suite": "long-sequence", "scale": name}))
    for task in plan.tasks:
        dark = {"lra-image", "lra-pathfinder", "lra-path-x"}  # a dark pixel has the id of [MASK]
        assert (len(task.ladders) == 1) == (task.task.name in dark)


@pytest.mark.parametrize("strength", ["0", "-1/255", "-0.5", "much", "", "1/0", "nan"])
@pytest.mark.parametrize("use", ["fgsm-linf", "pgd-l2"])
def test_strengths_out_of_range_are_refused(use: str, strength: str) -> None:
    with pytest.raises(UsageError):
        parse_stressor(f"{use};eps={strength}")
    with pytest.raises(UsageError):
        parse_stressor(f"{use};eps=1/4").at(strength)


def test_clean_has_no_strength() -> None:
    with pytest.raises(UsageError, match="'clean' has no strength"):
        parse_stressor("clean").at("1/4")


def test_a_suite_of_the_user_s_own(tmp_path: Path) -> None:
    path = tmp_path / "my suite.toml"
    path.write_text(OWN, encoding="utf-8")
    suite = find_suite(str(path))
    assert (suite.name, suite.version) == ("mine", 3)
    assert suite.settings("smoke").samples == 10
    clean, attack = suite.stressors
    assert suite.strengths_for(clean, "digits") is None
    assert suite.strengths_for(attack, "digits") == ("1/4",)
    assert suite.strengths_for(attack, "another") == ("1/255", "0.5")
    assert suite.digest() == read_suite(OWN + "\n# a remark\n", "elsewhere").digest()
    assert suite.digest() != read_suite(OWN.replace("1/255", "2/255"), "elsewhere").digest()


def test_the_default_serves_known_tasks_without_a_list() -> None:
    suite = read_suite(OWN.replace('digits = ["1/4"]', ""), "mine.toml")
    assert suite.strengths_for(suite.stressors[1], "digits") == ("1/255", "0.5")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name = ", "is not TOML"),
        ("", "name is missing"),
        (OWN.replace("version = 3", ""), "version is missing"),
        (OWN.replace("version = 3", "version = 0"), "version must be at least 1, not 0"),
        (OWN.replace("version = 3", "version = 1.5"), "version must be a whole number, not 1.5"),
        (OWN.replace("version = 3", "version = 3\nflavour = 1"), "flavour is unknown; known: calibration"),
        (OWN.replace('use = "clean"', 'used = "clean"'), "stressors.0.used is unknown; did you mean use?"),
        (OWN.replace('"1/255", "0.5"', '"1/255", 0.5'), "strengths.radii.default.1 must be text, not 0.5"),
        (OWN.replace("samples = 10", "samples = 0"), "scales.smoke.samples must be at least 1, not 0"),
        (OWN.replace('size = "nano"', ""), "scales.smoke.size is missing"),
        (OWN[: OWN.index("[scales")], "scales is missing"),
    ],
)
def test_files_that_are_no_suite(text: str, reason: str) -> None:
    assert reason in wrong(text)


def suite() -> Suite:
    return read_suite(OWN, "mine.toml")


def test_unknown_lists_and_scales() -> None:
    with pytest.raises(UsageError, match="'mine' has no strengths 'depths' for task 'digits'"):
        suite().strengths_for(SuiteStressor(use="pgd-linf", strengths="depths"), "digits")
    only_digits = read_suite(OWN.replace('default = ["1/255", "0.5"]', ""), "mine.toml")
    with pytest.raises(UsageError, match="'mine' has no strengths 'radii' for task 'cifar10'"):
        only_digits.strengths_for(only_digits.stressors[1], "cifar10")
    with pytest.raises(UsageError, match="'mine' has no scale 'full'; it has: smoke"):
        suite().settings("full")


def test_finding() -> None:
    similar = "adversarial or adversarial-text or adversarial-local"
    with pytest.raises(UnknownNameError, match=rf"unknown suite 'adversary'; did you mean {similar}\?"):
        find_suite("adversary")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml does not exist"):
        find_suite(str(tmp_path / "none.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match=r"folder\.toml does not exist"):
        find_suite(str(tmp_path / "folder.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(UsageError, match=r"binary\.toml cannot be read as text"):
        find_suite(str(tmp_path / "binary.toml"))


def test_a_line_may_declare_the_family_of_its_cells(tmp_path: Path) -> None:
    from robustbench_wb.engine.plan import make_plan
    from robustbench_wb.engine.request import RunRequest

    assert {line.family for name in SUITES.names() for line in find_suite(name).stressors} == {""}
    path = tmp_path / "own.toml"
    families = ('use = "clean"\nfamily = "control"', 'use = "pgd-linf;steps=7"\nfamily = "attack"')
    path.write_text(OWN.replace('use = "clean"', families[0]).replace('use = "pgd-linf;steps=7"', families[1]))
    (task,) = make_plan(RunRequest(suite=str(path), tasks=("digits",))).tasks
    assert [ladder.family for ladder in task.ladders] == ["control", "attack"]
    assert [task.family(rung) for ladder in task.ladders for rung in ladder.rungs] == ["control", "attack"]
    assert task.family(parse_stressor("fgsm-linf;eps=1")) == ""


def test_a_changed_suite_is_named_by_its_content() -> None:
    def name(*stressors: str, epsilons: tuple[str, ...] = (), suite: str = "adversarial") -> str:
        return make_plan(RunRequest(suite=suite, stressors=stressors, epsilons=epsilons)).suite

    assert name() == "adversarial"
    one = name("pgd-linf;eps=8/255", "fgsm-l2;eps=1")
    assert one.startswith("adversarial-custom-")
    assert one == name("fgsm-l2;eps=1", "clean", "pgd-linf;eps=16/510", "fgsm-l2;eps=1")
    others = [
        name("pgd-linf;eps=8/255"),
        name("pgd-linf;eps=8/255;steps=3", "fgsm-l2;eps=1"),
        name("pgd-linf;eps=1/255"),
    ]
    radii = [name(epsilons=("1/2",)), name(epsilons=("1/2", "1")), name("pgd-linf;eps=8/255", epsilons=("1/2",))]
    assert len({one, *others, *radii, name(epsilons=("1/2",), suite="clean")}) == 8
    assert name(epsilons=("1/2", "1")) == name(epsilons=("1", "0.5", "2/4"))


INCLUDING = """
name = "both"
version = 1
summary = "Two suites in one"

[[stressors]]
use = "clean"

[[include]]
suite = "adversarial"
version = {version}

[[include]]
suite = "corruption"
version = 1

[scales.smoke]
size = "nano"
"""


def test_a_suite_includes_others() -> None:
    adversarial, corruption = find_suite("adversarial"), find_suite("corruption")
    both = read_suite(INCLUDING.format(version=adversarial.version), "both.toml")
    uses = [line.use for line in both.stressors]
    others = [line.use for suite in (adversarial, corruption) for line in suite.stressors if line.use != "clean"]
    assert uses == ["clean", *others]
    for suite in (adversarial, corruption):
        wanted = [suite.strengths_for(line, "digits") for line in suite.stressors if line.use != "clean"]
        own = {line.use: both.strengths_for(line, "digits") for line in both.stressors}
        assert [own[line.use] for line in suite.stressors if line.use != "clean"] == wanted


def test_an_included_suite_that_has_changed_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^suite file both.toml includes version 99 of 'adversarial', which has"):
        read_suite(INCLUDING.format(version=99), "both.toml")
    with pytest.raises(UsageError, match="unknown suite 'adversarail'"):
        read_suite(INCLUDING.format(version=2).replace('"adversarial"', '"adversarail"'), "both.toml")


@pytest.mark.parametrize("part", ["calibration", "layers"])
@pytest.mark.parametrize("value", ['"yes"', "1"])
def test_only_true_and_false_ask_for_parts_of_rows(part: str, value: str) -> None:
    text = f'name = "mine"\nversion = 1\nsummary = "Mine"\n{part} = {{}}\n[scales.smoke]\nsize = "nano"\n'
    assert getattr(read_suite(text.format("true") + '[[stressors]]\nuse = "clean"\n', "mine.toml"), part)
    assert f"{part} must be true or false, not " in wrong(text.format(value))


def test_a_suite_that_includes_calibration_has_its_columns_or_is_refused() -> None:
    text = 'name = "mine"\nversion = 1\nsummary = "Mine"\n{}[[include]]\nsuite = "calibration"\nversion = 1\n'
    text += '[scales.smoke]\nsize = "nano"\n'
    assert read_suite(text.format(""), "mine.toml").calibration
    assert read_suite(text.format("calibration = true\n"), "mine.toml").calibration
    refused = "suite file mine.toml has calibration = false and includes 'calibration', whose rows have calibration"
    assert refused in wrong(text.format("calibration = false\n"))
    assert not read_suite(text.format("").replace('"calibration"', '"corruption"'), "mine.toml").calibration


def test_a_suite_without_stressors_is_refused() -> None:
    with pytest.raises(UsageError, match="has no stressors; add"):
        read_suite('name = "none"\nversion = 1\nsummary = "Nothing"\n[scales.smoke]\nsize = "nano"\n', "none.toml")


def test_costs_of_a_suite() -> None:
    (smoke, small, full) = suite_costs(find_suite("adversarial"))
    assert (smoke.scale, smoke.samples, full.samples) == ("smoke", 360, None)
    rungs = sum(len(ladder.rungs) for ladder in suite_ladders(find_suite("adversarial"), "digits"))
    assert smoke.evaluations == small.evaluations == rungs == 22
    assert [cost.passes for cost in suite_costs(find_suite("corruption"))] == [76, 76, 76]  # one for each evaluation
    assert suite_costs(find_suite("adversarial-text"))[0].passes is None


def test_every_suite_file_of_the_package_is_registered() -> None:
    files = {path.stem for path in Path(suites.__file__).parent.glob("*.toml")}
    assert files == {name for name in SUITES.names() if SUITES.target(name).startswith("robustbench_wb.")}
