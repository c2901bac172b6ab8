"""One item of the catalogue: a table with its figures, and the arms that they are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product

OPTIMIZERS = {
    "sgdm": "SGDM",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "amsgrad": "AMSGrad",
    "radam": "RAdam",
    "adamw": "AdamW",
    "muon": "Muon",
}
TOY_RATES = (0.01, 0.05, 0.1)  # the first is the experiment's own
RATES = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)  # the family's; a range needs these
BEYOND = (0.064, 0.128)  # where AdamW's range with Magma ends
CHOICE_RATES = {  # of the grids that choose on MNIST: three octaves down, two up
    "sgdm": (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4),
    "adam": (0.000125, 0.00025, 0.0005, 0.001, 0.002, 0.004),
}
OWN_RATES = {"sgdm": 0.1}  # of the optimizers' files; that of others with grids is 0.001
KEEP_PROBS = (0.1, 0.3, 0.5, 0.7, 0.9, 1)  # p; at 1 it is the base optimizer
STEP_RATES = (0.05, 0.1, 0.2, 0.4)  # of SGDM, whose own is 0.1
# In all curves of optimizers that have been run so
HALF_LABEL, HALF_RATE = "base, rate halved", "+lr0.5"


class ResultError(RuntimeError):
    """Runs of which no table or figure can be made; the message says why and what to do."""


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
    rates: tuple[float, ...] = ()  # at which each arm is run; empty: at the optimizer's own
    seeds: tuple[int, ...] = ()  # its own, whatever Make's SEEDS are
    optimizers_across: bool = False  # optimizers side by side and columns below one another
    layout: str = "optimizers"  # or "metrics", "toy", "rates", "step"; "drawing" has no runs
    published: str | None = None  # the file of results/paper with numbers of some of its arms
    in_report: bool = True

    @property
    def sweep(self) -> str:
        """The sweep that makes its runs: `table1` also for `table1-digits`."""
        return self.name.partition("-")[0]

    @property
    def target(self) -> str:
        """What follows `make reproduce-` and `plan-`: `family` of all whose name begins so."""
        return self.sweep.partition("_")[0]

    @property
    def own_seeds(self) -> str:
        """Its seeds as a command line has them; "" if it has none of its own."""
        return ",".join(map(str, self.seeds))

    def arms(self) -> list[str]:
        """The names of all its arms."""
        return [
            at_rate(name + suffix, rate) if rate else name + suffix
            for name, suffix in product(self.optimizers, self.methods.values())
            for rate in self.rates or (None,)
        ]

    def can_be_of(self, experiment: str) -> bool:
        """Whether it has this experiment, or can be made of any: what compares optimizers, without
        seeds of its own, at which a grid of its experiment has chosen."""
        any_can = self.layout == "optimizers" and not self.seeds
        return experiment in self.experiments or any_can

    def of_experiment(self, experiment: str) -> Item:
        """Takes an experiment, returns the item of that one alone; ResultError if it cannot be.

        An experiment that is not the item's has files of its own: `table1-digits`. So has the
        figure of one that the item draws none of: `controls-mnist`.
        """
        if not self.can_be_of(experiment):
            known = ", ".join(self.experiments) or "none"
            raise ResultError(f"{self.name} is made of experiment {known} alone, got {experiment}")
        figures = {name: of for name, of in self.figures.items() if of == experiment}
        return replace(
            self,
            name=self.name if experiment in self.experiments else f"{self.name}-{experiment}",
            experiments=(experiment,),
            figures=figures or {f"{name}-{experiment}": experiment for name in [*self.figures][:1]},
        )


def arms_of(items: Iterable[Item]) -> set[tuple[str, str]]:
    """The experiment and name of every arm of some items."""
    return {(name, arm) for item in items for name in item.experiments for arm in item.arms()}


def at_rate(arm: str, rate: float) -> str:
    """Takes an arm and a learning rate of a grid, returns the arm's name there."""
    if rate == OWN_RATES.get(arm.partition("+")[0], 0.001):
        return arm
    before, decay, value = arm.partition("+weight_decay=")
    return f"{before}+lr={rate:g}{decay}{value}"


def step_arm(method: str, rate: float) -> str:
    """Takes `lrd0.5` or `lr0.5` and a learning rate, returns the arm of SGDM with weight decay."""
    return at_rate(f"sgdm+{method}+weight_decay=0.0005", rate)


def toy_arm(rate: float, keep_prob: float) -> str:
    """Takes a learning rate and p, returns the name of the toy's arm."""
    mask = "" if keep_prob == 1 else f"+lrd{keep_prob:g}"
    return f"adam{mask}" if rate == TOY_RATES[0] else f"adam{mask}+lr={rate:g}"
