"""What a claim is: a sentence, and the comparisons of arms by which it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from experiments.tasks import Column
from scripts.item import BEYOND, RATES, at_rate

LEAST_SEEDS = 4  # with fewer, nothing is decided
JUDGED_SCALES = ("paper", "mid")  # trained to the end; others show directions


class Pair(NamedTuple):
    """One comparison: the mean of some arms' statistic less that of others, seed by seed."""

    experiment: str
    statistic: str
    column: Column  # what the statistic is of
    sign: int  # 1: claimed to be above the bound, -1: below
    arms: tuple[str, ...]
    than: tuple[str, ...]  # empty: a number is compared with
    number: float = 0.0  # that is subtracted
    bound: float = 0.0
    published: float | None = None  # the paper's own difference
    margin: float | None = None  # differences within it of the bound are no effect

    @property
    def label(self) -> str:
        """`adam+lrd0.5 − adam`."""
        first, second = (
            names[0] if len(names) == 1 else f"mean of {', '.join(names)}"
            for names in (self.arms, self.than or (f"{self.number:g}",))
        )
        return f"{first} − {second}"


class Trend(NamedTuple):
    """One comparison of an order: a statistic rises (falls) along a list of arms at every seed."""

    experiment: str
    statistic: str
    column: Column
    sign: int  # 1: claimed to rise, -1: to fall
    arms: tuple[str, ...]
    seeds: int  # its test is made once, with so many
    than: tuple[str, ...] = ()  # the rest as a pair has it: it has none of them
    bound: float = 0.0  # of the last arm less the first
    published: float | None = None
    margin: float | None = None

    @property
    def label(self) -> str:
        """`adam+lrd0.9 < adam+lrd0.5 < adam+lrd0.1`."""
        return (" < " if self.sign > 0 else " > ").join(self.arms)


class Claim(NamedTuple):
    """A sentence, where it stands, and the comparisons of which `at_least` so many must hold."""

    text: str
    family: str
    source: str
    stated: str  # when it was written, in UTC as run.json has it
    sweep: str | None  # that makes its runs; None: they are runs of the user's own
    comparisons: tuple[Pair | Trend, ...]
    at_least: int
    exploratory: bool  # a question of the suite's own
    omnibus: bool = False  # about its family's mean, and tested before the others
    judged_at: tuple[str, ...] = JUDGED_SCALES

    @property
    def experiment(self) -> str:
        return self.comparisons[0].experiment

    @property
    def arms(self) -> list[str]:
        """The arms that it compares."""
        return [*dict.fromkeys(arm for pair in self.comparisons for arm in arms_run(pair))]

    @property
    def best_against_best(self) -> bool:
        """Whether it compares one arm with another, each at its best rate."""
        return len(self.comparisons) == 1 and all(arm.endswith("+best") for arm in self.arms)

    @property
    def digits(self) -> int:
        """Decimals of the statistic's differences; a mean over all epochs varies less."""
        pair = self.comparisons[0]
        kind = pair.statistic.partition(":")[0]
        return {"reach": 1, "mean": pair.column.digits + 1}.get(kind, pair.column.digits)

    @property
    def own(self) -> bool:
        """Whether no paper makes it."""
        return self.exploratory or self.source == "our own"

    @property
    def falls(self) -> bool:
        """Whether less of the statistic is better."""
        pair = self.comparisons[0]
        return pair.column.falls or pair.statistic.startswith("reach:")

    @property
    def unit(self) -> str:
        """What the statistic's differences are counted in; "" of fractions and of SSD."""
        pair = self.comparisons[0]
        return " epochs" if pair.statistic.startswith("reach:") else pair.column.unit


class Cost(NamedTuple):
    """A claim about a row of the benchmark: its ratio is below a bound."""

    text: str
    source: str
    row: str  # its name, in which a * stands for anything
    bound: float


class Claims(NamedTuple):
    """All claims, and how far a base may be from the paper's."""

    false_findings: float  # the share of the exploratory ones that may be
    margins_stated: str
    planning_spread: dict[str, float]  # by experiment, as the next: see conf/claims.yaml
    another_base: dict[str, float]
    claims: list[Claim]
    costs: list[Cost]


def of_octaves(comparison: Pair | Trend) -> bool:
    """Whether it compares ranges of learning rates, each of many runs of a seed."""
    return comparison.statistic.startswith("octaves:")


def arms_run(comparison: Pair | Trend) -> list[str]:
    """The arms of a comparison's runs: of octaves, those at each rate of the grid and beyond."""
    names = [*comparison.arms, *comparison.than]
    rates = (*RATES, *BEYOND) if of_octaves(comparison) else ()
    return [at_rate(name, rate) for name in names for rate in rates] or names


def mean_pair(pairs: Sequence[Pair]) -> Pair:
    """Takes pairs of one arm each, returns that of their means; published is the mean as well."""
    gains = [pair.published for pair in pairs]
    return pairs[0]._replace(
        arms=tuple(pair.arms[0] for pair in pairs),
        than=tuple(pair.than[0] for pair in pairs),
        published=None if None in gains else sum(gains) / len(gains),
    )
