"""One command for an item: its plan, its sweep, its table and figures, and how it ends."""

import os
import re
import signal

import pytest

from experiments.configuration import choices
from scripts import plan, reproduce

WHOLE = ["--seeds", "0", "--yes"]


@pytest.fixture
def run(monkeypatch):
    """Runs the command without what it starts; returns exit status and the commands."""

    def run(*words, fails="nothing", lacking=()):
        commands = []

        def note(module, *arguments):
            commands.append(" ".join([module, *arguments]))
            return 3 if fails in commands[-1] else 0

        monkeypatch.setattr(reproduce, "run_module", note)
        monkeypatch.setattr(reproduce, "_lacking", lambda *_: [*lacking])
        with pytest.raises(SystemExit) as stop:
            reproduce.main([*words])
        return stop.value.code, commands

    return run


@pytest.fixture
def planned(monkeypatch):
    """A plan of so many hours in place of a measured one; returns the sweeps that it was of."""
    sweeps = []

    def stand_in(hours):
        def runs_of(sweep, scale, seeds, overrides, download):
            assert download
            sweeps.append((sweep, scale, seeds, overrides))
            yield plan.Planned(f"{sweep}/adam/seed0", False, hours, "1.0 GiB")

        monkeypatch.setattr(plan, "runs_of", runs_of)
        monkeypatch.setattr(plan.torch.cuda, "is_available", lambda: False)
        return sweeps

    return stand_in


def test_a_sweep_and_then_table_and_figures(run):
    words = ["--scale", "lite", "--seeds", "0,1", "--launcher", "joblib", "--experiment", "mnist"]
    assert run("table1", *words) == (
        0,
        [
            "experiments.run +sweep=table1 experiment=mnist seed=0,1 scale=lite "
            "hydra/launcher=joblib hydra.launcher.n_jobs=2",
            "scripts.tables table1 --scale lite --experiment mnist",
            "scripts.figures table1 --scale lite --experiment mnist",
        ],
    )


def test_the_family_is_its_rates_and_then_its_best_with_seeds_of_their_own(run):
    status, commands = run("family", "--scale", "lite", "--seeds", "5")
    sweeps = [command for command in commands if command.startswith("experiments.run")]
    assert status == 0
    assert [command.split()[1:3] for command in sweeps] == [
        ["+sweep=family_rates", "seed=0,1"],
        ["+sweep=family_decay", "seed=0,1"],
        ["+sweep=family_best", "seed=10,11,12,13,14,15,16,17"],
    ]
    made = [command.split()[:2] for command in commands if command not in sweeps]
    assert ["scripts.tables", "family_best"] in made
    assert ["scripts.figures", "family_rates"] in made
    assert ["scripts.figures", "family_best"] not in made  # it has none


def test_defaults_are_the_papers_scale_and_three_seeds_one_by_one(run):
    _, commands = run("table2", "--yes")
    assert commands == [
        "experiments.run +sweep=table2 seed=0,1,2 scale=paper hydra/launcher=basic",
        "scripts.tables table2 --scale paper",
        "scripts.figures table2 --scale paper",
    ]


def test_a_figure_is_its_item_on_its_own_experiment(run):
    _, commands = run("figure6", *WHOLE)
    assert commands[0].startswith("experiments.run +sweep=table1 experiment=cifar10 ")
    assert commands[2] == "scripts.figures table1 --scale paper --experiment cifar10"
    assert run("figure12", *WHOLE)[1][1] == "scripts.figures figure12 --scale paper"  # no table
    assert run("figure1", *WHOLE) == (0, ["scripts.figures figure1"])  # no runs


@pytest.mark.parametrize(
    ("fails", "last"),
    [("experiments.run", "scripts.figures"), ("scripts.tables", "scripts.tables")],
)
def test_what_fails_fails_the_command_and_a_failed_sweep_still_has_its_figures(run, fails, last):
    status, commands = run("table1", *WHOLE, fails=fails)
    assert status == 3
    assert commands[-1].startswith(last)


def test_runs_without_a_result_fail_the_command_and_are_named(run, capsys):
    status, commands = run("table1", *WHOLE, lacking=["mnist/adam/seed0"])
    assert status == 1
    assert commands[-1].startswith("scripts.figures")
    assert "error: not made: mnist/adam/seed0" in capsys.readouterr().err


def test_a_run_that_another_process_holds_is_lacking(tmp_path, monkeypatch):
    item = reproduce.ITEMS["table1-digits"]
    states = plan.states("table1", "smoke", "0", ["experiment=digits", f"runs_dir={tmp_path}"])
    asked = []
    monkeypatch.setattr(reproduce, "states", lambda *words: asked.append(words) or states[:1])
    assert reproduce._lacking(item, "smoke", "0") == ["digits/sgdm/seed0"]
    assert asked == [("table1", "smoke", "0", ["experiment=digits"])]


def test_more_than_a_day_at_the_papers_scale_wants_a_yes(run, planned, capsys):
    sweeps = planned(hours=25)
    status, commands = run("table1", "--seeds", "0", "--experiment", "cifar10")
    assert status == "error: more than a day's work on this machine: repeat with YES=1 to begin"
    assert commands == []
    assert sweeps == [("table1", "paper", "0", ["experiment=cifar10"])]
    assert "table1/adam/seed0: about 25 h, 1.0 GiB" in capsys.readouterr().out
    for words in (["--yes"], ["--scale", "lite"]):
        assert "experiments.run" in run("table1", "--seeds", "0", *words)[1][0]
    assert len(sweeps) == 1


def test_less_than_a_day_begins_by_itself(run, planned):
    planned(hours=23)
    assert run("table2", "--seeds", "0")[0] == 0


def test_everything_is_every_sweep_and_then_the_report(run):
    """The toy at the paper's scale, for it is small; a sweep that fails does not end the others."""
    status, commands = run("all", "--scale", "lite", "--seeds", "0", fails="+sweep=table2")
    assert status == 3
    sweeps = [command.split() for command in commands if "+sweep" in command]
    scales = {words[1].removeprefix("+sweep="): words[3] for words in sweeps}
    assert scales.keys() == {*choices("sweep")}
    assert {name for name, scale in scales.items() if scale == "scale=paper"} == {"figure4"}
    assert commands[-1] == "scripts.report"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table1", "--experiment", "mnits"], "'mnits' .*'cifar10', .*'mnist'"),
        (["table1", "--experiment", "digits; touch x"], "invalid choice: 'digits; touch x'"),
        (["table9"], "'table9' .*'table1'"),
        (["table1", "--seeds", "0-2"], "must be numbers separated by commas, as 0,1,2, got 0-2"),
        (["table1", "--launcher", "a b"], "must be a launcher of Hydra"),
        (["table1", "--scale", "huge"], "'huge' .*'lite', .*'paper'"),
        (["table1", "--jobs", "0"], "must be at least 1"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_made(run, capsys, words, message):
    status, commands = run(*words)
    assert (status, commands) == (2, [])
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "day" not in error.splitlines()[-1]


class Process:
    """A command that the given signal reaches while this one waits for it."""

    def __init__(self, number, code):
        self.number, self.code, self.terminated = number, code, False

    def wait(self):
        os.kill(os.getpid(), self.number)
        return self.code

    def terminate(self):
        self.terminated = True


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [(signal.SIGINT, 130, 130), (signal.SIGTERM, 143, 143), (signal.SIGTERM, -15, 143)],
)
def test_what_a_signal_ends_has_the_time_for_it_and_ends_the_rest(
    monkeypatch, number, code, status
):
    process = Process(number, code)
    monkeypatch.setattr(reproduce.subprocess, "Popen", lambda _: process)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        reproduce.main(["table1", *WHOLE])
    assert stop.value.code == status
    assert process.terminated == (number == signal.SIGTERM)
    assert signal.getsignal(number) == before


def test_what_a_grid_has_chosen_is_run_on_its_own_experiment_alone(run):
    for experiment, sweeps in (
        ("mnist_choice", ["+sweep=choice_sgdm", "+sweep=choice_adam"]),
        ("mnist", ["+sweep=choice_best"]),
    ):
        _, commands = run("choice", "--scale", "lite", "--experiment", experiment)
        words = [command.split()[1] for command in commands if "experiments.run" in command]
        assert words == sweeps


def test_an_item_of_one_experiment_refuses_another(run):
    status, commands = run("figure8", "--experiment", "mnist")
    assert status == "error: figure8 is made of experiment pspnet alone, got mnist"
    assert commands == []
