"""How training ends: some arms settle at a training loss of nothing, some spike to the end, and of
some it depends on the seed, so that their mean is one of two kinds of runs."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.identity import CHOOSING
from experiments.record.reader import Run, Runs
from scripts.tables.cells import spread
from scripts.tables.formats import Table
from scripts.titles import title

_SETTLED = 1e-4  # of the training loss, in each of the last ten epochs
_EPOCHS = 10


def _settled(run: Run) -> bool:
    return bool(run.metrics["train_loss"][-_EPOCHS:].max() < _SETTLED)


def table(runs: Runs, scale: str) -> Table | None:
    """Takes the runs of a scale, returns a row for each arm of the classifications of which some
    runs settle, without the experiments that only choose a rate; None if none does."""
    named = {
        run.experiment
        for run in runs.runs
        if run.config["task"] == "classification" and not run.experiment.endswith(CHOOSING)
    }
    rows = [row for experiment in sorted(named) for row in _rows(runs, experiment)]
    if not rows:
        return None
    head = ["Data", "Arm", "n", "Settle", "Their test accuracy", "Others' test accuracy"]
    return Table(
        "ends",
        f"How training ends, scale {scale}.",
        head,
        rows,
        [f"A run settles if its training loss is below {_SETTLED:g} in each of the last {_EPOCHS} "
         "epochs; the bound was chosen after the first runs were seen. Where only some runs of an "
         "arm settle, its mean is one of two kinds of runs. AMSGrad is Adam with a second moment "
         "that never falls.",
         "Test accuracy (%), last epoch: mean ± sample standard deviation."],
    )  # fmt: skip


def _rows(runs: Runs, experiment: str) -> Iterator[list[str]]:
    """A row for each arm of two runs or more, if a run of the experiment settles."""
    done = [run for run in runs.runs if run.experiment == experiment and run.status == "done"]
    if not any(map(_settled, done)):
        return
    name = title(experiment, [run.config for run in done])
    for arm in sorted({run.arm for run in done}):
        of_arm = [run for run in done if run.arm == arm]
        if len(of_arm) > 1:
            groups = [[run for run in of_arm if _settled(run) is way] for way in (True, False)]
            ends = [[float(run.metrics["test_accuracy"][-1]) for run in group] for group in groups]
            cells = [spread(numbers, 2) for numbers in ends]
            yield [name, arm, str(len(of_arm)), str(len(groups[0])), *cells]
