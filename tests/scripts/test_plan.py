"""The plan of a sweep: the runs that the sweep would make, what is done, and what is left."""

import pytest

from experiments.identity import place_of, run_folder
from helpers.commands import command
from scripts import plan
from scripts.catalogue import ITEMS


def test_the_command_line_narrows_and_widens_the_plan():
    words = ["experiment=digits", "optimizer=adam", "seed=0,1", "scale=smoke"]
    planned = plan.configurations("table1", words)
    names = [place_of(run_folder(config)) for config in planned]
    assert sorted(names) == sorted(
        f"digits/{arm}/seed{seed}" for arm in ("adam", "adam+lrd0.5") for seed in (0, 1)
    )


def test_seeds_rates_and_p_share_a_calibration_and_nets_do_not():
    configs = plan.configurations("table2", ["scale=lite", "seed=0,1"])
    assert len({plan.net_kind(config) for config in configs}) == 1
    assert {plan.optimizer_kind(config) for config in configs} == {
        "adam", "adam+lrd", "sgdm", "sgdm+lrd"
    }  # fmt: skip
    nets = plan.configurations("table4", ["scale=lite", "seed=0"])
    assert len({plan.net_kind(config) for config in nets}) == 5  # standard dropout costs time


def test_done_runs_take_no_time_and_nothing_is_written(make, tmp_path, capsys):
    make("lrd.enabled=true")
    before = sorted(path for path in tmp_path.rglob("*"))
    capsys.readouterr()
    words = ["table1", "--scale", "smoke", "--seeds", "0", "experiment=digits", "optimizer=adam"]
    plan.main([*words, f"runs_dir={tmp_path}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "digits/adam+lrd0.5/seed0: done"
    assert lines[0].startswith("digits/adam/seed0: about ")
    assert lines[2].startswith("2 runs, 1 done.")
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_several_sweeps_have_one_plan_each_with_its_own_seeds():
    sweeps = plan._sweeps("family", "0,1,2", None)
    assert [sweep for sweep, *_ in sweeps] == ["family_rates", "family_decay", "family_best"]
    assert [seeds.split(",")[0] for _, seeds, _ in sweeps] == ["0", "0", "10"]
    assert plan._sweeps("table1", "0,1,2", None) == [("table1", "0,1,2", [])]
    # a file of the user's, in no catalogue
    assert plan._sweeps("own", "3", "toy") == [("own", "3", ["experiment=toy"])]


def test_hours_that_nobody_knows_are_not_taken_for_none():
    assert plan.Planned("mnist/adam/seed0", False, 2.0).known() == 2.0
    with pytest.raises(plan.PlanError, match="mnist/adam/seed0: time unknown: no data there"):
        plan.Planned("mnist/adam/seed0", False, None, "no data there").known()


def test_a_plan_of_nothing_names_what_is_missing(capsys):
    with pytest.raises(SystemExit, match="2"):
        plan.main(["--scale", "lite"])
    assert "name what to plan: a table, figure or file of conf/sweep" in capsys.readouterr().err


def test_a_figure_without_runs_has_no_plan():
    with pytest.raises(SystemExit, match="figure1 is drawn without runs: make reproduce-figure1"):
        plan.main(["figure1"])


def test_a_plan_is_of_what_the_command_makes():
    (best,) = plan._sweeps("choice", "0", "mnist")
    assert best[0] == "choice_best"
    assert best[1].startswith("10,")
    assert [sweep for sweep, *_ in plan._sweeps("choice", "0", "mnist_choice")] == [
        "choice_sgdm",
        "choice_adam",
    ]
    assert plan._sweeps("figure5", "0", None) == [("table1", "0", ["experiment=mnist"])]
    with pytest.raises(SystemExit, match="step is made of experiment mnist alone, got digits"):
        plan.main(["step", "--experiment", "digits"])


def test_runs_whose_rate_is_not_chosen_yet_are_planned(tmp_path):
    states = plan.states("family_best", "smoke", "10,11", [f"runs_dir={tmp_path}"])
    assert len(states) == 2 * len(ITEMS["family_best"].arms())
    assert not any(done for _, done in states)
    assert place_of(run_folder(states[0][0])) == "language/rmsprop+best/seed10"


@pytest.mark.parametrize(("hours", "text"), [(0.0342, "0.034"), (7.94, "7.9"), (160.2, "160")])
def test_hours_are_plain_numbers(hours, text):
    assert plan.plain(hours) == text


DIGITS = ["table1", "--scale", "smoke", "--seeds", "0", "experiment=digits", "optimizer=adam"]


def test_the_total_is_the_runs_epochs_by_their_cost(monkeypatch, tmp_path, capsys):
    cost = plan.Cost({"adam": 3600.0 * 80}, 0)  # an epoch, of two
    monkeypatch.setattr(plan, "measure", lambda configs, download: cost)
    plan.main([*DIGITS, "lrd.enabled=false", f"runs_dir={tmp_path}"])
    assert "1 runs, 0 done. What remains takes about 160 hours" in capsys.readouterr().out


def test_a_run_that_two_sweeps_share_is_planned_once(monkeypatch, capsys):
    unknown = "time unknown, as no data are read here"
    monkeypatch.setattr(plan, "measure", lambda configs, download: unknown)
    words = ["optimizer=adamw", "arm=plain", "runs_dir=nowhere"]
    plan.main(["family", "--scale", "lite", *words])
    *lines, total = capsys.readouterr().out.splitlines()
    names = [line.partition(":")[0] for line in lines]
    assert "language/adamw/seed0" in names  # of family_rates and of family_decay
    assert len(names) == len(set(names)) == int(total.split()[0])


def test_without_its_data_a_runs_time_is_unknown_and_nothing_is_downloaded(tmp_path, capsys):
    words = ["experiment=mnist", "optimizer=adam", f"data.root={tmp_path}", f"runs_dir={tmp_path}"]
    plan.main([*DIGITS[:5], *words])
    line, _, total = capsys.readouterr().out.splitlines()
    assert line.startswith(f"mnist/adam/seed0: time unknown: no MNIST in {tmp_path}")
    assert total.endswith("and 2 runs of unknown time.")


OWN_TASK = """
import torch
from experiments.tasks import Column

COLUMNS = {"train_loss": Column("loss"), "test_loss": Column("loss")}
RESULT = "test_loss"


class Numbers:
    provenance = {"name": "numbers", "format": "drawn", "train": 640, "test": 64}

    def loaders(self, batch_size, device):
        return Batches(batch_size), Batches(batch_size)


class Batches:
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return 640 // self.size

    def epoch(self, order, augmentation):
        yield torch.randn(self.size, 3), torch.randn(self.size, 1)


def loss(model, batch):
    return (model(batch[0]) - batch[1]).square().mean(), {}


def evaluate(model, batches):
    return {"test_loss": 0.0}
"""


def test_a_task_data_set_and_net_of_the_users_own_have_a_plan(tmp_path, monkeypatch):
    """Nothing in the suite knows of them: the batch is the data set's own."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "task.py").write_text(OWN_TASK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (config,) = plan.configurations("table1", [*DIGITS[5:], "lrd.enabled=false", "seed=0"])
    config |= {
        "task": "own.task",
        "data": {"_target_": "own.task.Numbers"},
        "model": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 1},
    }
    cost = plan.measure([config])
    assert set(cost.epoch) == {"adam"}
    assert 0 < cost.epoch["adam"] < 60


def test_a_sweep_that_the_command_would_refuse_has_no_plan():
    with pytest.raises(SystemExit, match=r"(?s)Could not find 'experiment/mnits'.*mnist"):
        plan.main(["table1", "experiment=mnits"])


@pytest.mark.slow
def test_the_estimate_is_of_the_runs_size(tmp_path):
    """Within a factor of five of what the run then takes: these machines are not idle."""
    words = ["experiment=digits", "optimizer=adam", "lrd.enabled=false", f"runs_dir={tmp_path}"]
    (planned,) = plan.runs_of("table1", "lite", "0", words)
    estimate = 3600 * planned.hours
    done = command(*words, "scale=lite")
    assert done.returncode == 0, done.stderr
    (timing,) = tmp_path.rglob("timing.csv")
    took = sum(float(line.split(",")[1]) for line in timing.read_text().splitlines()[1:])
    assert estimate / 5 < took < estimate * 5
