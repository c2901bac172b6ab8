"""The benchmark: what it compares, and what it writes."""

import csv
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from experiments.record.reader import read_runs
from helpers.commands import ROOT
from scripts.benchmark import __main__ as benchmark
from scripts.benchmark import step
from scripts.benchmark.measure import Result, compare, measure, random_parameters
from scripts.benchmark.records import make_runs

RESULTS = [
    compare("step", "Adam+LRD", "torch's Adam (fused)", [0.012], [0.01], goal=1.05),
    compare("masks", "Adam+LRD", "torch.bernoulli", [0.012], [0.24], goal=0.05, parameters=21),
    compare("growth", "Adam+LRD", "fused Adam", [1.0], [1.0], parameters=10**5),
    Result("compile", "first step, empty cache", value=12.34, unit="s", goal=15.0),
]


def test_what_is_compared_takes_turns():
    turns = []

    def timer(name, seconds):
        return lambda: turns.append(name) or seconds

    seconds = measure({"a": timer("a", 1.0), "b": timer("b", 2.0)}, 2)
    assert turns == ["a", "b", "a", "b"]
    assert seconds == {"a": [1.0, 1.0], "b": [2.0, 2.0]}


def test_ratio_is_the_median_of_the_rounds_ratios():
    """Not the ratio of the medians: a slow round slows both of its sides."""
    result = compare("step", "a", "b", [1.0, 4.0, 30.0], [2.0, 10.0, 5.0])
    assert (result.ours, result.other, result.value) == (4000.0, 5000.0, 0.5)


@pytest.mark.parametrize(("value", "met"), [(1.05, "yes"), (1.0501, "no")])
def test_a_goal_is_met_up_to_its_value(value, met):
    assert Result("step", "a", value=value, goal=1.05).met == met


def test_tables_and_figure_are_written_and_misses_are_marked(tmp_path):
    benchmark.write(RESULTS, tmp_path, "Two cores.")
    text = (tmp_path / "benchmark.md").read_text()
    assert "Two cores." in text
    assert "| 12 | 10 | 1.2 | 1.05 | **no** |" in text
    assert "| 12.3 s | 15 | yes |" in text
    rows = list(csv.DictReader((tmp_path / "benchmark.csv").open()))
    assert [row["met"] for row in rows] == ["no", "yes", "", "yes"]
    assert rows[1]["what"] == "Adam+LRD / torch.bernoulli"
    assert (rows[1]["name"], rows[1]["against"], rows[1]["parameters"]) == (
        "Adam+LRD", "torch.bernoulli", "21",
    )  # fmt: skip
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_alone_leaves_the_whole_benchmark_as_it_was(tmp_path, monkeypatch):
    benchmark.write(RESULTS, tmp_path, "Two cores.")
    before = (tmp_path / "benchmark.csv").read_bytes()
    monkeypatch.setattr(benchmark, "results_of", lambda part, *_: RESULTS[:1])
    monkeypatch.setattr(
        "sys.argv", ["benchmark", "--only", "masks", "--busy", "--out", str(tmp_path)]
    )
    benchmark.main()
    assert (tmp_path / "benchmark.csv").read_bytes() == before
    assert len((tmp_path / "benchmark-masks.csv").read_text().splitlines()) == 2
    assert "![Ratios](benchmark-masks.png)" in (tmp_path / "benchmark-masks.md").read_text()


def test_plain_adam_with_everything_kept_is_torchs():
    torch.manual_seed(0)
    model = nn.Linear(30, 40)
    ours, theirs = random_parameters(model), random_parameters(model)
    plain = step.plain_adam(ours, torch.ones_like)
    optimizer = torch.optim.Adam(theirs)
    for number in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.full_like(a, 0.1 * (number + 1))
            b.grad = a.grad.clone()
        plain()
        optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("draw", [step.bernoulli, step.uniform])
def test_plain_masks_leave_half_of_the_parameters_alone(draw):
    param = nn.Parameter(torch.zeros(10_000))
    param.grad = torch.ones(10_000)
    step.plain_adam([param], draw)()
    assert 0.45 < (param != 0).float().mean() < 0.55


GREEDY = """
import json, torch
from scripts.benchmark.process import step_memory

class Greedy(torch.optim.Adam):
    def step(self):
        torch.zeros(10**7).fill_(1.0)  # 40 MB, more than an allocator keeps
        return super().step()

params = [torch.nn.Parameter(torch.zeros(1000, 1000))]
params[0].grad = torch.ones(1000, 1000)
print(json.dumps(step_memory(Greedy(params))))
"""


def test_memory_of_a_step_holds_its_tensors_and_what_it_takes_for_a_while():
    """In a process of its own, as the benchmark's: of another's memory some is free already."""
    command = [sys.executable, "-c", GREEDY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    memory = json.loads(done.stdout)
    assert memory["parameters"] == 10**6
    assert memory["state"] == 8 * 10**6 + 4
    assert memory["peak"] >= 16 * 10**6 + 4 + 36 * 10**6


@pytest.mark.slow
def test_bandwidth_counts_what_a_step_moves(monkeypatch):
    """20 bytes for each of SGDM's parameters: W and momentum read and written, gradient read."""
    small = step.Size("small", lambda: nn.Linear(50, 50), 1.25, 2.0, 1, compiled=True)
    monkeypatch.setattr(step, "SIZES", (small,))
    monkeypatch.setattr(step, "RULES", {"SGDM": step.RULES["SGDM"]})
    monkeypatch.setattr(step, "_fixed_cost", lambda *_: 0.0)
    moved = []
    monkeypatch.setattr(step, "_bandwidth", lambda count: moved.append(count) or 1e9)
    monkeypatch.setattr(step, "FAST", {"compile": False})
    (result,) = step.steps(1)
    assert moved == [20 * 2550]
    assert (result.what, result.parameters) == (
        f"SGDM+LRD / {result.against}, small", 2550,
    )  # fmt: skip
    assert "limit: 0 MB at 1 GB/s take 0.051 ms" in result.note
    assert all(kind in result.note for kind in ("foreach", "fused", "compiled"))


def test_each_rule_of_the_family_is_measured_over_its_own_step(monkeypatch):
    """With the bounds of its kind: a pass over the copy, or sums over the parameter first."""
    small = step.Size("small", lambda: nn.Linear(50, 50), 1.25, 2.0, 1, compiled=True)
    monkeypatch.setattr(step, "SIZES", (small,))
    monkeypatch.setattr(step, "FAST", {"compile": False})
    results = [*step.family(1)]
    assert {result.against for result in results} == {"fused Adam"}
    assert [(result.name, result.goal) for result in results] == [
        ("Bernoulli around fused Adam", 2.0),
        ("Bernoulli, rescaled, around fused Adam", 2.5),
        ("SkipUpdate around fused Adam", 2.5),
        ("Noise around fused Adam", 2.5),
        ("Cautious around fused Adam", 4.0),
        ("CautiousDecay around fused Adam", 4.0),
        ("Magma around fused Adam", 4.0),
    ]


@pytest.mark.slow
def test_growth_compares_the_sizes_past_the_cache(monkeypatch):
    monkeypatch.setattr(step, "GROWTH", (1_000, 200_000, 400_000))
    monkeypatch.setattr(step, "_last_cache", lambda: 10**6)
    *sizes, flat = step.growth(2)
    assert [result.parameters for result in sizes] == [1_000, 200_000, 400_000]
    assert all(len(result.ratios) == 2 for result in sizes)
    times = [result.ours / result.parameters for result in sizes[1:]]
    assert flat.value == pytest.approx(max(times) / min(times))
    monkeypatch.setattr(step, "_last_cache", lambda: 16 * 200_000)  # one size is past it
    assert [result.parameters for result in step.growth(2)] == [1_000, 200_000, 400_000]


@pytest.mark.parametrize(("told", "size"), [("", 0), ("1048576\n", 1048576)])
def test_the_last_cache_is_known_or_said_to_be_unknown(monkeypatch, told, size):
    monkeypatch.setattr(step.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=told))
    assert step._last_cache() == size


def test_run_folders_for_the_benchmark_are_whole_and_unlike(tmp_path):
    make_runs(ROOT / "results/runs/lite/cifar100", tmp_path, 13)  # of ten arms
    runs, left_out = read_runs(tmp_path, scale="lite")
    assert (len(runs), left_out) == (13, [])
    first, second = (run.metrics["test_accuracy"][-1] for run in runs if run.arm == "adam")
    assert first != second


def test_a_busy_machine_is_not_measured_by_accident(monkeypatch):
    monkeypatch.setattr(benchmark.os, "getloadavg", lambda: (0.4, 9.0, 9.0))
    benchmark.check_idle()
    monkeypatch.setattr(benchmark.os, "getloadavg", lambda: (3.6, 0.0, 0.0))
    with pytest.raises(SystemExit, match=r"load average 3.6, idle is at most 0.5.*--busy"):
        benchmark.check_idle()


def test_other_packages_that_mask_are_measured_if_they_are_installed(monkeypatch):
    class Magma:
        def __init__(self, optimizer):
            self.step = optimizer.step

    present = {"magma": type("module", (), {"Magma": Magma})}
    monkeypatch.setattr(step.importlib.util, "find_spec", present.get)
    monkeypatch.setattr(step.importlib, "import_module", present.get)
    (name,) = step.peers(nn.Linear(3, 2))
    assert name == "magma-optimizer's Magma"
