"""The make targets: what they run, and what they say when they cannot."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

from scripts.catalogue import ITEMS

ROOT = Path(__file__).parents[2]
SETTINGS = {"VENV", "PYTHON", "SCALE", "SEEDS", "LAUNCHER", "JOBS", "EXPERIMENT", "YES"}
# Stands in for an environment's Python: notes its arguments, and fails when they contain a word.
FAKE_PYTHON = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in *"{fails}"*) exit 3;; esac
"""


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """A make of its own, even if these tests were started by one with settings."""
    inherited = {k: v for k, v in os.environ.items() if k not in SETTINGS and "MAKE" not in k}
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=ROOT,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=60,
    )


def listed() -> list[str]:
    """The targets that `make help` shows."""
    return re.findall(r"^  ([a-z][a-z0-9%-]*)  ", make("help").stdout, re.M)


@pytest.fixture
def env(tmp_path) -> Path:
    return tmp_path / "env"


@pytest.fixture
def calls(env):
    """Runs targets with a Python that only notes its arguments; returns status and notes."""

    def run(*words: str, fails: str = "nothing", installed: bool = True) -> tuple[int, list[str]]:
        (env / "bin").mkdir(parents=True, exist_ok=True)
        log, python = env / "log", env / "bin" / "python"
        log.write_text("")
        python.write_text(FAKE_PYTHON.format(log=log, fails=fails))
        python.chmod(0o755)
        if installed:
            (env / ".lrd-installed").touch()  # newer than what it is made from
        done = make(f"VENV={env}", *words)
        return done.returncode, log.read_text().splitlines()

    return run


def test_help_lists_every_target():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: ((?:.|\\\n)+?)$(?<!\\)", text, re.M)[1].replace("\\", "").split()
    assert [name for name in listed() if "%" not in name] == phony
    assert set(phony) == set(re.findall(r"^([a-z][a-z0-9-]*):.*##", text, re.M))


def test_targets_run_modules_that_exist():
    modules = re.findall(
        r"\$\(RUN\) ((?:scripts|experiments)\.[\w.]+)", (ROOT / "Makefile").read_text()
    )
    assert modules
    assert not [name for name in modules if importlib.util.find_spec(name) is None]


def test_readme_names_targets_that_exist():
    code = re.findall(r"```[\s\S]*?```|`[^`]+`|^    .+$", (ROOT / "README.md").read_text(), re.M)
    command = re.compile(r"\bmake (?:[A-Z]+=\S+ )*([a-z][a-z0-9-]*)")
    named = {target for part in code for target in command.findall(part)}
    assert "demo" in named
    patterns = {name.removesuffix("%") for name in listed() if name.endswith("%")}
    assert {name for name in named if not name.startswith(tuple(patterns))} <= set(listed())


HOW = "--scale paper --seeds 0,1,2 --launcher basic --jobs 2"


def test_every_item_has_a_target_that_hands_it_on(calls):
    """A figure that is drawn with a table has the table's."""
    drawn_with = {"figure10": "table2", "figure11": "table3", "figure13": "table4"}
    targets = [name for name in listed() if name.startswith("reproduce-")]
    assert len(targets) == 23
    status, lines = calls(*targets)
    assert status == 0
    items = [drawn_with.get(name, name) for name in (t.removeprefix("reproduce-") for t in targets)]
    assert lines == [f"-m scripts.reproduce {item} {HOW}" for item in dict.fromkeys(items)]
    known = {name for item in ITEMS.values() for name in (item.name, *item.figures)}
    known = {name.partition("_")[0] for name in known if "-" not in name}
    assert {*items} | {"lrd"} == known - {*drawn_with}
    assert calls("reproduce") == (0, [f"-m scripts.reproduce all {HOW}"])


def test_settings_are_handed_on_as_words(calls):
    _, lines = calls(
        "reproduce-table1", "SCALE=lite", "SEEDS=0,1", "LAUNCHER=joblib", "JOBS=4",
        "EXPERIMENT=mnist", "YES=1",
    )  # fmt: skip
    assert lines == [
        "-m scripts.reproduce table1 --scale lite --seeds 0,1 --launcher joblib --jobs 4 "
        "--experiment mnist --yes"
    ]


def test_the_demo_is_table_1_on_digits(calls):
    assert calls("demo") == (
        0,
        [
            "-m scripts.reproduce table1 --scale paper --seeds 0 --launcher joblib --jobs 2 "
            "--experiment digits --yes"
        ],
    )


@pytest.mark.parametrize("setting", ["SCALE", "SEEDS", "LAUNCHER", "JOBS", "EXPERIMENT", "YES"])
@pytest.mark.parametrize("target", ["help", "reproduce-table1", "plan-table1", "test"])
def test_a_setting_runs_nothing_whatever_it_holds(calls, tmp_path, setting, target):
    mark = tmp_path / "mark"
    for text in (
        f"a; touch {mark}",
        f"'; touch {mark}; '",
        f"`touch {mark}`",
        f'a" && touch {mark}',
    ):
        calls(target, f"{setting}={text}")
        assert not mark.exists(), text
    for text in (f"$(shell touch {mark})", f"$$(touch {mark})"):
        assert calls(target, f"{setting}={text}")[0] != 0
        assert not mark.exists(), text


@pytest.mark.parametrize("name", ["a b", "a;b", "a'b", "a:b", "$(shell touch x)"])
def test_an_environment_that_make_cannot_name_is_refused_at_once(name):
    done = make("help", f"VENV={name}")
    assert done.returncode != 0
    assert re.search("VENV must (be a path without spaces|not hold a)", done.stderr)


def test_a_plan_is_made_for_any_sweep(calls):
    assert calls("plan-table3", "SCALE=lite", "SEEDS=0,1", "EXPERIMENT=cifar10") == (
        0,
        ["-m scripts.plan table3 --scale lite --seeds 0,1 --experiment cifar10"],
    )


def test_a_failed_command_fails_the_target(calls):
    assert calls("reproduce-table1", fails="scripts.reproduce")[0] != 0


def test_the_two_test_targets_share_no_test_and_leave_none_out(calls):
    _, (fast, rest) = calls("test", "test-all")
    heavy = re.fullmatch(r"(-m pytest .+) -m (.+)", rest)
    assert fast == f"{heavy[1]} -m not ({heavy[2]})"
    markers = re.findall(r'^    "(\w+): ', (ROOT / "pyproject.toml").read_text(), re.M)
    assert heavy[2].split(" or ") == markers


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 1", "is not Python 3.11 or newer"),
        ('case "$*" in *ensurepip*) exit 1;; esac', "has no venv module"),
    ],
)
def test_setup_says_what_its_python_lacks(tmp_path, env, script, message):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    done = make("setup", f"PYTHON={python}", f"VENV={env}")
    assert done.returncode != 0
    assert f"error: {python} {message}" in done.stderr
    assert not env.exists()


def test_setup_installs_pins_and_package_once(calls):
    status, lines = calls("setup", installed=False)
    assert status == 0
    first, second = (line for line in lines if line.startswith("-m pip install"))
    assert first.endswith("-r requirements.lock")
    assert "--no-deps" in second
    assert second.endswith("-e .")
    assert calls("setup", installed=False) == (0, [])  # the stamp is there now


def test_changed_pins_are_installed(calls, env):
    calls("setup")
    os.utime(env / ".lrd-installed", (0, 0))
    assert any("requirements.lock" in line for line in calls("setup", installed=False)[1])


def test_setup_that_failed_is_begun_again(calls):
    for _ in range(2):
        status, lines = calls("setup", installed=False, fails="pip install")
        assert status != 0
        assert lines[-1].endswith("-r requirements.lock")


def test_check_of_a_fresh_clone_runs_all_tests_and_stops_at_a_failure():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert re.findall(r"^make (\S+)$", text, re.M) == ["test", "test-all"]


def test_a_misspelled_variable_is_refused_before_anything_runs(calls):
    done = make("reproduce-table2", "SCLAE=lite")
    assert done.returncode != 0
    assert "unknown variable: SCLAE=lite" in done.stderr
    assert "SCALE" in done.stderr
    assert calls("report", "SCALE=lite")[0] == 0


def test_a_claims_text_may_hold_an_equals_sign(calls):
    claim = "LRD at p=0.3 improves, whatever rate=0.1 is"
    status, lines = calls("decide", f"CLAIM={claim}")
    assert status == 0
    assert f"--claim {claim}" in lines[-1]
