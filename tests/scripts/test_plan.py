"""The plan of a sweep: the runs that the sweep would make, what is done, and what is left."""

import pytest

from experiments.identity import run_folder
from helpers.commands import ROOT, command, sweep_configurations
from scripts import plan


def folders(configs):
    return [run_folder(config) for config in configs]


@pytest.mark.parametrize("sweep", [path.stem for path in (ROOT / "conf" / "sweep").glob("*.yaml")])
def test_the_plan_has_the_sweeps_own_runs(sweep):
    planned = plan.configurations(sweep, ["scale=paper", "seed=0", "runs_dir=x"])
    assert folders(planned) == folders(sweep_configurations(sweep))


def test_the_command_line_narrows_and_widens_the_plan():
    words = ["experiment=digits", "optimizer=adam", "seed=0,1", "scale=smoke"]
    planned = plan.configurations("table1", words)
    names = ["/".join(folder.parts[-3:]) for folder in folders(planned)]
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


def test_more_than_the_limit_is_an_exit_status(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "measure", lambda configs: plan.Cost(3600.0, {"adam": 0.0}, 0))
    words = ["table1", "--scale", "smoke", "--seeds", "0", "experiment=digits", "optimizer=adam"]
    words += ["lrd.enabled=false", f"runs_dir={tmp_path}"]
    with pytest.raises(SystemExit) as stop:
        plan.main([*words, "--limit", "1"])
    assert stop.value.code == 1
    plan.main([*words, "--limit", "100"])


@pytest.mark.slow
def test_the_estimate_is_of_the_runs_size(tmp_path):
    """Within a factor of five of what the run then takes: these machines are not idle."""
    words = ["experiment=digits", "optimizer=adam", "lrd.enabled=false", "scale=lite"]
    (config,) = plan.configurations("table1", [*words, "seed=0", f"runs_dir={tmp_path}"])
    estimate = 3600 * plan.hours(config, plan.measure([config]))
    done = command(*words, f"runs_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    (timing,) = tmp_path.rglob("timing.csv")
    took = sum(float(line.split(",")[1]) for line in timing.read_text().splitlines()[1:])
    assert estimate / 5 < took < estimate * 5
