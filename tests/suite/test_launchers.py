"""Sweeps with each launcher: the same numbers, and what comes of a worker that is killed."""

import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from experiments.record.reader import read_runs
from helpers.commands import CONF, ROOT, command, start
from scripts.tables.__main__ import make_table

pytestmark = pytest.mark.timeout(600)
BOUNDS = {  # two runs at a time
    "basic": [],
    "joblib": ["hydra.launcher.n_jobs=2"],
    "ray": ["hydra.launcher.ray.init.num_cpus=2"],
    "submitit_local": ["hydra.sweeper.max_batch_size=2"],
}


@pytest.mark.integration
def test_every_launcher_makes_the_same_table(tmp_path):
    """Runs of Table 1 on digits, with real local clusters: the same bytes."""
    tables = {}
    for launcher, bound in BOUNDS.items():
        runs = tmp_path / launcher
        done = command(
            "+sweep=table1", "experiment=digits", "optimizer=sgdm,radam", "seed=0", "scale=smoke",
            f"hydra/launcher={launcher}", *bound, f"runs_dir={runs}",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "4 done" in done.stdout
        made = make_table("table1", runs, tmp_path / "tables" / launcher, "smoke", "digits")
        files = sorted(runs.rglob("metrics.csv"))
        assert len(files) == 4
        tables[launcher] = made, [path.read_bytes() for path in files]
    assert all(table == tables["basic"] for table in tables.values())


def descendants(pid: int, words: str) -> list[int]:
    """Processes below one, in whose command line the words stand."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended since
            continue

    def below(each: int) -> bool:
        return each == pid or (each in parents and below(parents[each]))

    def line(each: int) -> str:
        return Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode()

    return [each for each in parents if each != pid and below(each) and words in line(each)]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("launcher", "worker", "lost"), [("joblib", "LokyProcess", True), ("ray", "ray::_run", False)]
)
def test_after_a_worker_is_killed_the_command_repeated_completes_the_sweep(
    tmp_path, launcher, worker, lost
):
    """A worker of two is killed in the middle of its run, as the kernel does for want of memory.

    joblib ends the sweep, and the missing runs are named; Ray starts the run again, which goes on.
    """
    words = ["-m", "scale=smoke", "seed=0,1,2", "epochs=200", f"runs_dir={tmp_path}"]
    words += [f"hydra/launcher={launcher}", *BOUNDS[launcher]]
    process = start(*words, cwd=tmp_path)
    for line in process.stdout:
        if "epoch 3/" in line:
            os.kill(descendants(process.pid, worker)[0], signal.SIGKILL)
            break
    rest, _ = process.communicate(timeout=200)
    assert (process.returncode == 1) == lost, rest
    assert bool(re.search(r"^missing: .*seed=\d", rest, re.M)) == lost, rest
    again = command(*words)
    assert again.returncode == 0, again.stdout + again.stderr
    statuses = Counter(run.status for run in read_runs(tmp_path, scale="smoke").runs)
    assert statuses == {"done": 3}


@pytest.mark.fault
def test_ctrl_c_under_joblib_names_what_was_interrupted_and_what_had_not_begun(tmp_path):
    """To all processes at once, as a terminal sends it."""
    words = ["-m", "scale=smoke", "seed=0,1,2,3", "epochs=3000", f"runs_dir={tmp_path}"]
    process = start(*words, "hydra/launcher=joblib", *BOUNDS["joblib"], start_new_session=True)
    for line in process.stdout:
        if "epoch 3/" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=200)
    assert process.returncode == 130, rest
    assert "\n2 interrupted, 2 not begun\n" in rest
    assert re.findall(r"^not begun: .*seed=(\d)", rest, re.M) == ["2", "3"]
    assert "resource_tracker" not in rest
    assert "Traceback" not in rest


@pytest.fixture
def read_only(tmp_path):
    """A folder that cannot be written to, not even by root; skips where none can be mounted."""
    place = tmp_path / "checkout"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.fault
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_a_sweep_from_a_read_only_folder(read_only, tmp_path, launcher):
    words = ["-m", "scale=smoke", "seed=0,1", f"hydra/launcher={launcher}", *BOUNDS[launcher]]
    done = command(*words, f"runs_dir={tmp_path / 'runs'}", cwd=read_only, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 done" in done.stdout
    assert {path.name for path in (tmp_path / "runs").iterdir()} <= {"smoke", ".hydra"}
    failed = command(*words, "runs_dir=runs", cwd=read_only, PYTHONPATH=str(ROOT))
    assert failed.returncode == 1
    assert failed.stdout.count("cannot write to the run folder runs/") >= 2


@pytest.mark.filterwarnings("ignore:(?s).*ConfigStore schema with the same name")
@pytest.mark.parametrize(
    ("words", "gpus", "minutes"),
    [(["+sweep=table1", "experiment=cifar10"], 1, 480), (["experiment=toy"], 0, 30)],
)
def test_slurm_jobs_get_the_resources_of_their_experiment(words, gpus, minutes):
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose(
            "config", [*words, "hydra/launcher=submitit_slurm"], return_hydra_config=True
        )
        launcher = config.hydra.launcher
        assert (launcher.gpus_per_node, launcher.timeout_min) == (gpus, minutes)
        assert launcher.max_num_timeout > 0  # a job at its time limit goes on in another
        assert launcher.array_parallelism == 16


@pytest.mark.filterwarnings("ignore:(?s).*ConfigStore schema with the same name")
def test_a_ray_clusters_workers_get_the_resources_of_their_experiment(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setenv("LRD_OUTCOMES", "/shared/jobs")
    words = ["+sweep=table1", "experiment=cifar10", "hydra/launcher=ray_cluster"]
    with initialize_config_dir(CONF, version_base="1.3"):
        ray = compose("config", words, return_hydra_config=True).hydra.launcher.ray
        assert ray.init.address == "head:6379"
        assert (ray.remote.num_cpus, ray.remote.num_gpus) == (2, 1)
        assert ray.init.runtime_env.env_vars.LRD_OUTCOMES == "/shared/jobs"
