"""The make targets: what they run, and what they say when they cannot."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

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


def test_reproduce_sweeps_and_then_makes_table_and_figure(calls):
    status, lines = calls(
        "reproduce-table1", "SCALE=lite", "SEEDS=0,1", "LAUNCHER=joblib", "EXPERIMENT=mnist"
    )
    assert status == 0
    assert lines == [
        "-m experiments.run +sweep=table1 experiment=mnist seed=0,1 scale=lite "
        "hydra/launcher=joblib hydra.launcher.n_jobs=2",
        "-m scripts.tables table1 --scale lite --experiment mnist",
        "-m scripts.figures figure5 --scale lite --experiment mnist",
    ]


def test_table_1_brings_the_figure_of_each_of_its_experiments(calls):
    for experiment, figures in (("", "567"), ("cifar100", "7"), ("digits", "5")):
        _, lines = calls("reproduce-table1", f"EXPERIMENT={experiment}", "YES=1")
        assert [re.search(r"figure(\d+)", line)[1] for line in lines[2:]] == list(figures)


@pytest.mark.parametrize(("number", "figure"), [(2, 10), (3, 11), (4, 13)])
def test_the_other_tables_bring_their_curves(calls, number, figure):
    for target in (f"reproduce-table{number}", f"reproduce-figure{figure}"):
        _, lines = calls(target, "SCALE=smoke", "SEEDS=0")
        assert lines == [
            f"-m experiments.run +sweep=table{number} seed=0 scale=smoke hydra/launcher=basic",
            f"-m scripts.tables table{number} --scale smoke",
            f"-m scripts.figures figure{figure} --scale smoke",
        ]


def test_defaults_are_the_papers_scale_and_three_seeds_one_by_one(calls):
    _, lines = calls("reproduce-table1", "YES=1")
    assert lines[0].split() == (
        [
            "-m",
            "experiments.run",
            "+sweep=table1",
            "seed=0,1,2",
            "scale=paper",
            "hydra/launcher=basic",
        ]
    )


def test_at_paper_scale_a_plan_comes_first_and_more_than_a_day_wants_a_yes(calls):
    plan = "-m scripts.plan table2 --scale paper --seeds 0 --limit 24"
    status, lines = calls("reproduce-table2", "SEEDS=0")
    assert (status, lines[0]) == (0, plan)
    assert "experiments.run" in lines[1]
    status, lines = calls("reproduce-table2", "SEEDS=0", fails="scripts.plan")
    assert (status != 0, lines) == (True, [plan])
    for setting in ("SCALE=lite", "YES=1"):
        _, lines = calls("reproduce-table2", "SEEDS=0", setting)
        assert "experiments.run" in lines[0]


def test_a_plan_is_made_for_any_sweep(calls):
    assert calls("plan-table3", "SCALE=lite", "SEEDS=0,1", "EXPERIMENT=cifar10") == (
        0,
        ["-m scripts.plan table3 --scale lite --seeds 0,1 experiment=cifar10"],
    )


@pytest.mark.parametrize("target", ["demo", "reproduce-table1", "reproduce-figure12"])
def test_failed_run_fails_the_target_after_the_figure_is_made(calls, target):
    status, lines = calls(target, fails="experiments.run")
    assert status != 0
    assert "scripts.figures" in lines[-1]


def test_failed_table_fails_the_target(calls):
    status, _ = calls("reproduce-table1", fails="scripts.tables")
    assert status != 0


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


def test_reproduce_runs_every_sweep_and_then_the_report(calls):
    """The toy at the paper's scale, for it is small; a sweep that fails does not end the others."""
    status, lines = calls("reproduce", "SCALE=lite", "SEEDS=0", fails="+sweep=table2")
    assert status != 0
    sweeps = dict(
        re.search(r"\+sweep=(\w+).* scale=(\w+)", line).groups()
        for line in lines
        if "+sweep" in line
    )
    assert sweeps.keys() == {path.stem for path in (ROOT / "conf" / "sweep").glob("*.yaml")}
    assert {name for name, scale in sweeps.items() if scale == "paper"} == {"figure4"}
    assert lines[-1] == "-m scripts.report"


def test_a_misspelled_variable_is_refused_before_anything_runs(calls):
    done = make("reproduce-table2", "SCLAE=lite")
    assert done.returncode != 0
    assert "unknown variable: SCLAE=lite" in done.stderr
    assert "SCALE" in done.stderr
    assert calls("report", "SCALE=lite")[0] == 0
