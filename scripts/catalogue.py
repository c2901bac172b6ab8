"""The items of the paper and of the suite's own questions: one row for each table and its figures.

Tables, figures, the report, the list of missing runs and Make read these rows. An arm's name is an
optimizer's and a method's suffix: `adam` and `+lrd0.5` make `adam+lrd0.5`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from experiments.configuration import Config
from experiments.record.faults import FINISHED
from experiments.record.reader import Run
from experiments.tasks import required_columns
from scripts.titles import title

OPTIMIZERS = {
    "sgdm": "SGDM",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "amsgrad": "AMSGrad",
    "radam": "RAdam",
}
TOY_RATES = (0.01, 0.05, 0.1)  # the first is the experiment's own
KEEP_PROBS = (0.1, 0.3, 0.5, 0.7, 0.9, 1)  # p; at 1 it is the base optimizer
HALF_RATE = {"base, rate halved": "+lr0.5"}  # in all curves of optimizers that have been run so


@dataclass(frozen=True)
class Item:
    """A table with its figures: methods by optimizers, on some experiments."""

    name: str  # of the table's files, of the sweep, and of `make reproduce-<name>`
    heading: str  # of its section in the report
    caption: str = ""  # of its table; {result} is the column that it shows. Empty: no table
    experiments: tuple[str, ...] = ()
    optimizers: tuple[str, ...] = ()
    methods: dict[str, str] = field(default_factory=dict)  # label: suffix of the arm's name
    figures: dict[str, str] = field(default_factory=dict)  # figure: the experiment that it shows
    columns: tuple[str, ...] = ()  # of metrics.csv, that its curves show
    optimizers_across: bool = False  # optimizers side by side and columns below one another
    layout: str = "optimizers"  # or "metrics", "toy"; "drawing" has no runs
    published: str | None = None  # the file of results/paper with numbers of some of its arms
    in_report: bool = True

    @property
    def sweep(self) -> str:
        """The sweep that makes its runs: `table1` also for `table1-digits`."""
        return self.name.partition("-")[0]

    def arms(self) -> list[str]:
        """The names of all its arms."""
        return [name + suffix for name in self.optimizers for suffix in self.methods.values()]

    def of_experiment(self, experiment: str) -> Item:
        """Takes an experiment, returns the item of that one alone.

        An experiment that is not the item's has files of its own: `table1-digits`. So has the
        figure of one that the item draws none of: `controls-mnist`.
        """
        figures = {name: of for name, of in self.figures.items() if of == experiment}
        return replace(
            self,
            name=self.name if experiment in self.experiments else f"{self.name}-{experiment}",
            experiments=(experiment,),
            figures=figures or {f"{name}-{experiment}": experiment for name in [*self.figures][:1]},
        )


def toy_arm(rate: float, keep_prob: float) -> str:
    """Takes a learning rate and p, returns the name of the toy's arm."""
    mask = "" if keep_prob == 1 else f"+lrd{keep_prob:g}"
    return f"adam{mask}" if rate == TOY_RATES[0] else f"adam{mask}+lr={rate:g}"


def _drawing(name: str, heading: str) -> Item:
    return Item(name, heading, figures={name: ""}, layout="drawing")


_LRD = {"base": "", "LRD": "+lrd0.5"}
_ADAM_SGDM = ("adam", "sgdm")
_ACCURACIES = ("train_accuracy", "test_accuracy")
_LOSS_AND_ACCURACIES = ("train_loss", *_ACCURACIES)
_ROWS = (
    Item(
        name="table1",
        heading="Table 1 and Figures 5 to 7: learning rate dropout and five optimizers",
        caption="{result} without (base) and with learning rate dropout (LRD, p = 0.5)",
        experiments=("mnist", "cifar10", "cifar100"),
        optimizers=tuple(OPTIMIZERS),
        methods=_LRD,
        figures={"figure5": "mnist", "figure6": "cifar10", "figure7": "cifar100"},
        columns=_LOSS_AND_ACCURACIES,
        optimizers_across=True,
        published="table1",
    ),
    Item(
        name="table2",
        heading="Table 2 and Figure 10: the probability of an update",
        caption="{result} by p, the probability that a parameter is updated (p = 1: without "
        "learning rate dropout)",
        experiments=("cifar10",),
        optimizers=_ADAM_SGDM,
        methods={"p = 1": "", **{f"p = {p:g}": f"+lrd{p:g}" for p in KEEP_PROBS[:-1]}},
        figures={"figure10": "cifar10"},
        columns=_ACCURACIES,
        published="table2",
    ),
    Item(
        name="table3",
        heading="Table 3 and Figure 11: other regularizations",
        caption="{result} with standard dropout (SD, 0.9 of the units kept), noisy gradient (NG), "
        "noisy label (NL, 5 %) and learning rate dropout (LRD, p = 0.5)",
        experiments=("cifar10",),
        optimizers=_ADAM_SGDM,
        methods={
            "none": "",
            "SD": "+sd0.9",
            "NG": "+ng0.1",
            "NL": "+nl0.05",
            "LRD": "+lrd0.5",
            "LRD and SD": "+lrd0.5+sd0.9",
            "LRD and NG": "+lrd0.5+ng0.1",
        },
        figures={"figure11": "cifar10"},
        columns=_ACCURACIES,
        published="table3",
    ),
    Item(
        name="figure12",
        heading="Figure 12: dropout on the gradient",
        experiments=("cifar10",),
        optimizers=_ADAM_SGDM,
        methods={"none": "", "LRD": "+lrd0.5", "DG": "+dg0.5"},
        figures={"figure12": "cifar10"},
        columns=_ACCURACIES,
    ),
    Item(
        name="table4",
        heading="Table 4 and Figure 13: standard dropout",
        caption="{result} with standard dropout by p_sd, the probability that a unit is kept "
        "(p_sd = 1: none)",
        experiments=("cifar10",),
        optimizers=("adam",),
        methods={f"p_sd = {p:g}": "" if p == 1 else f"+sd{p:g}" for p in (1, 0.9, 0.8, 0.7, 0.6)},
        figures={"figure13": "cifar10"},
        columns=_ACCURACIES,
        published="table4",
    ),
    Item(
        name="controls",
        heading="Not in the paper: is it the mask, or the smaller mean step?",
        caption="Is it the mask, or the smaller mean step? {Result} of the base optimizer, of "
        "learning rate dropout (LRD, p = 0.5), of the base at half the learning rate, and of LRD "
        "with its updates doubled",
        experiments=("mnist", "cifar10"),
        optimizers=("sgdm", "adam"),
        methods={**_LRD, **HALF_RATE, "LRD, updates doubled": "+lrd0.5+rescale"},
        figures={"controls": "cifar10"},
        columns=_ACCURACIES,
    ),
    Item(
        name="authors",
        heading="Not in the paper: RMSprop as its authors released it",
        caption="{result} of RMSprop with learning rate dropout (LRD, p = 0.5) by the paper's "
        "equations, and as its authors released it: without weight decay in the update",
        experiments=("cifar10",),
        optimizers=("rmsprop",),
        methods={**_LRD, "LRD, authors' variant": "+lrd0.5+authors"},
        figures={"authors": "cifar10"},
        columns=_ACCURACIES,
    ),
    Item(
        name="settings",
        heading="Not in the paper: settings that could explain numbers unlike the published ones",
        caption="Settings that the paper leaves open: {result} as in Table 1, without (base) and "
        "with learning rate dropout (LRD, p = 0.5); with weight decay, of the base at half the "
        "rate too; and with pixels in [0, 1] that are not standardised",
        experiments=("mnist",),
        optimizers=("sgdm", "adam", "radam"),
        methods={
            **_LRD,
            "base, weight decay 0.0005": "+weight_decay=0.0005",
            "LRD, weight decay 0.0005": "+lrd0.5+weight_decay=0.0005",
            "base, rate halved, weight decay 0.0005": "+lr0.5+weight_decay=0.0005",
            "base, pixels in [0, 1]": "+standardised=false",
        },
        figures={"settings": "mnist"},
        columns=_LOSS_AND_ACCURACIES,
        optimizers_across=True,
        published="table1",
    ),
    Item(
        name="figure8",
        heading="Figure 8: VOC2012 segmentation, PSPNet",
        caption="without (base) and with learning rate dropout (LRD, p = 0.5)",
        experiments=("pspnet",),
        optimizers=("adam",),
        methods={"base": "", "LRD, p = 0.5": "+lrd0.5"},
        figures={"figure8": "pspnet"},
        columns=("mean_iou", "pixel_accuracy"),
        layout="metrics",
        published="figure8",
    ),
    Item(
        name="figure9",
        heading="Figure 9: VOC detection, SSD",
        caption="without (base) and with learning rate dropout (LRD, p = 0.5)",
        experiments=("ssd",),
        optimizers=("adam",),
        methods={"base": "", "LRD, p = 0.5": "+lrd0.5"},
        figures={"figure9": "ssd"},
        columns=("train_loss", "val_loss"),
        layout="metrics",
    ),
    Item(
        name="figure4",
        heading="Figure 4: the toy example",
        caption="percent of the starts that end in the basin of each minimum, by learning rate and "
        "p, the probability that a parameter is updated",
        experiments=("toy",),
        optimizers=("adam",),
        methods={
            f"rate {rate:g}, p = {p:g}": toy_arm(rate, p).removeprefix("adam")
            for rate in TOY_RATES
            for p in KEEP_PROBS
        },
        figures={"figure4": "toy", "figure4-basins": "toy"},
        layout="toy",
    ),
    _drawing("figure1", "Figure 1: a saddle point, without and with learning rate dropout"),
    _drawing(
        "figure2",
        "Figure 2: what back-propagation, dropout and learning rate dropout update in a net",
    ),
    _drawing("figure3", "Figure 3: the eight descent paths of three parameters"),
    replace(_drawing("lrd", "The README's picture of learning rate dropout"), in_report=False),
)
_DEMO = replace(
    _ROWS[0].of_experiment("digits"), heading="The demo: Table 1 on digits", in_report=False
)
ITEMS = {item.name: item for item in (*_ROWS, _DEMO)}
FIGURES = {figure: item.name for item in ITEMS.values() for figure in item.figures}
_SHOWN = {
    (experiment, arm)
    for item in ITEMS.values()
    for experiment in item.experiments
    for arm in item.arms()
}


def figure_item(figure: str) -> Item:
    """Takes a figure's name, returns its item with this figure alone."""
    item = ITEMS[FIGURES[figure]]
    shown = item.figures[figure]
    return replace(item, figures={figure: shown}, experiments=(shown,) if shown else ())


def own_arms(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Takes runs, returns by experiment the arms of finished ones that no item shows."""
    arms: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        known = (run.experiment, run.arm) in _SHOWN or run.arm in arms[run.experiment]
        if run.status in FINISHED and not known:
            arms[run.experiment].append(run.arm)
    return {experiment: sorted(names) for experiment, names in arms.items() if names}


def own_items(runs: Iterable[Run]) -> list[Item]:
    """Takes the runs of a scale, returns an item for each experiment with arms of the user's own.

    It shows these arms and the base arms of their optimizers.
    """
    configs: dict[str, list[Config]] = defaultdict(list)
    runs = [run for run in runs if run.status in FINISHED]
    for run in runs:
        configs[run.experiment].append(run.config)
    items = []
    for experiment, arms in own_arms(runs).items():
        of_runs = configs[experiment]
        task = Counter(config["task"] for config in of_runs).most_common(1)[0][0]
        names = {arm.partition("+")[0] for arm in arms}
        suffixes = sorted({arm.partition("+")[2] for arm in arms} - {""})
        known = [name for name in OPTIMIZERS if name in names]
        items.append(
            Item(
                name=f"own-{experiment}",
                heading=f"Not in the paper: own runs of {title(experiment, of_runs)}",
                caption=f"{{result}} of own runs, and of their base optimizers ({experiment})",
                experiments=(experiment,),
                optimizers=(*known, *sorted(names - set(known))),
                methods={"base": "", **{suffix: f"+{suffix}" for suffix in suffixes}},
                figures={f"own-{experiment}": experiment},
                columns=required_columns(task),
                optimizers_across=True,
            )
        )
    return items
