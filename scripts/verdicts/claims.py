"""The claims of conf/claims.yaml, read and checked."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import OmegaConf

from experiments.configuration import CONF
from experiments.tasks import Column, task_module
from scripts.catalogue import ITEMS

CLAIMS = CONF / "claims.yaml"
STATISTICS = ("last", "last10", "mean", "reach")
_SIDES = {"above", "below"}
_NEEDED = {"experiment", "source", "statistic"}
_FAMILY = _NEEDED | _SIDES | {"sweep", "claims"}
_CLAIM = _NEEDED | _SIDES | {"at_least", "pairs"}
_COST = {"source", "row", "below"}


class ClaimError(ValueError):
    """A claim that cannot be tested as it is written; the message says where and why."""


class Pair(NamedTuple):
    """One comparison: the mean of some arms' statistic less that of others, seed by seed."""

    experiment: str
    statistic: str
    column: Column  # what the statistic is of
    arms: tuple[str, ...]
    than: tuple[str, ...]
    bound: float
    sign: int  # 1: claimed to be above the bound, -1: below
    published: float | None

    @property
    def label(self) -> str:
        """`adam+lrd0.5 − adam`."""
        first, second = (
            names[0] if len(names) == 1 else f"mean of {', '.join(names)}"
            for names in (self.arms, self.than)
        )
        return f"{first} − {second}"

    @property
    def digits(self) -> int:
        """Decimals of the statistic's differences."""
        return 1 if self.statistic.startswith("reach:") else self.column.digits

    @property
    def unit(self) -> str:
        """What the statistic's differences are counted in; nothing for fractions and losses."""
        return " epochs" if self.statistic.startswith("reach:") else self.column.unit


class Claim(NamedTuple):
    """A sentence, where it stands, and the pairs of which `at_least` so many must hold."""

    text: str
    family: str
    source: str
    sweep: str | None  # that makes its runs; None: they are runs of the user's own
    pairs: tuple[Pair, ...]
    at_least: int

    @property
    def experiment(self) -> str:
        return self.pairs[0].experiment

    @property
    def arms(self) -> list[str]:
        """The arms that it compares."""
        return [*dict.fromkeys(arm for pair in self.pairs for arm in (*pair.arms, *pair.than))]


class Cost(NamedTuple):
    """A claim about a row of the benchmark: its ratio is below a bound."""

    text: str
    source: str
    row: str  # its name, in which a * stands for anything
    bound: float


class Claims(NamedTuple):
    """All claims, the level of their tests, and how far a base may be from the paper's."""

    level: float
    another_base: dict[str, float]  # by experiment: see conf/claims.yaml
    claims: list[Claim]
    costs: list[Cost]


def read_claims(path: Path = CLAIMS) -> Claims:
    """Read all claims. Raises ClaimError for one that is not written as the file's head says."""
    try:
        # OmegaConf refuses a key that stands twice, of which yaml alone keeps the last
        content = OmegaConf.to_container(OmegaConf.load(path))
    except yaml.YAMLError as error:
        raise ClaimError(f"{path} is no YAML: {error}") from error
    _require(content, {"level", "correction", "another_base", "families", "cost"}, str(path))
    if content["correction"] != "holm":
        raise ClaimError(f"{path}: correction must be holm, got {content['correction']!r}")
    claims = []
    for name, family in content["families"].items():
        _only(family, _FAMILY, name)
        _require(family, {"claims"}, name)
        for text, claim in family["claims"].items():
            _only(claim, _CLAIM, text)
            sides = _SIDES if claim.keys() & _SIDES else set()  # its own replaces its family's
            shared = {key: value for key, value in family.items() if key not in sides}
            claims.append(_claim(text, name, {**shared, **claim}))
    costs = []
    for text, cost in content["cost"]["claims"].items():
        _only(cost, _COST, text)
        _require(cost, _COST, text)
        costs.append(Cost(text, cost["source"], cost["row"], float(cost["below"])))
    texts = [claim.text for claim in (*claims, *costs)]
    if twice := {text for text in texts if texts.count(text) > 1}:
        raise ClaimError(f"{path}: stands twice: {', '.join(twice)}")
    another_base = {name: float(limit) for name, limit in content["another_base"].items()}
    return Claims(float(content["level"]), another_base, claims, costs)


def _claim(text: str, family: str, node: dict[str, Any]) -> Claim:
    _require(node, _NEEDED | {"pairs"}, text)
    if len(node.keys() & _SIDES) != 1:
        raise ClaimError(f"{text!r} must say either above or below")
    column = _column(text, node["experiment"], str(node["statistic"]))
    pairs = tuple(_pair(text, pair, node, column) for pair in node["pairs"])
    at_least = node.get("at_least", len(pairs))
    if not 1 <= at_least <= len(pairs):
        raise ClaimError(f"{text!r}: at_least must be in 1 … {len(pairs)}, got {at_least}")
    claim = Claim(text, family, node["source"], node.get("sweep"), pairs, at_least)
    _check_arms(claim)
    return claim


def _column(text: str, experiment: str, statistic: str) -> Column:
    """The column that a statistic is of, as the experiment's task declares it."""
    known = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
    _one_of(text, "experiment", experiment, known, "add a file to conf/experiment, or correct it")
    try:
        columns = _columns(experiment)
    except (ImportError, AttributeError) as error:
        raise ClaimError(f"{text!r}: the task of {experiment} is not known: {error}") from error
    kind, _, name = statistic.partition(":")
    if kind not in STATISTICS or name not in columns:
        raise ClaimError(
            f"{text!r}: statistic must be last, last10, mean or reach, a colon and a column of "
            f"{experiment} ({', '.join(columns)}), as last:{next(iter(columns))}, got {statistic!r}"
        )
    return columns[name]


@functools.cache
def _columns(experiment: str) -> dict[str, Column]:
    task = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml").task
    return task_module(task).COLUMNS


def _pair(text: str, pair: list[Any], node: dict[str, Any], column: Column) -> Pair:
    if len(pair) not in (2, 3):
        raise ClaimError(f"{text!r}: a pair is [arm, arm] or [arm, arm, published], got {pair}")
    arms, than = (tuple(side) if isinstance(side, list) else (side,) for side in pair[:2])
    if node["statistic"].startswith("reach:") and len(than) != 1:
        raise ClaimError(f"{text!r}: reach compares with one arm, got {', '.join(than)}")
    side, sign = ("above", 1) if "above" in node else ("below", -1)
    published = float(pair[2]) if len(pair) == 3 else None
    names = node["experiment"], node["statistic"], column
    return Pair(*names, arms, than, float(node[side]), sign, published)


def _check_arms(claim: Claim) -> None:
    """Refuse arms that no run can have: of an unknown optimizer, or not of the claim's sweep."""
    text = claim.text
    optimizers = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
    for arm in claim.arms:
        name = str(arm).partition("+")[0]
        advice = "add a file to conf/optimizer, or correct the arm's name"
        _one_of(text, f"the optimizer of arm {arm}", name, optimizers, advice)
    if claim.sweep is None:
        return
    advice = "correct it, or leave the sweep out if the runs are your own"
    items = {item.name: item for item in ITEMS.values() if item.arms() and "-" not in item.name}
    _one_of(text, "sweep", claim.sweep, sorted(items), advice)
    item = items[claim.sweep]
    what = f"{claim.sweep}'s experiment"
    _one_of(text, what, claim.experiment, item.experiments, advice)
    for arm in claim.arms:
        _one_of(text, f"{claim.sweep}'s arm", arm, item.arms(), advice)


def _one_of(text: str, what: str, given: str, known: Any, advice: str) -> None:
    if given not in known:
        raise ClaimError(
            f"{text!r}: {what} must be one of {', '.join(known)}, got {given!r}: {advice}"
        )


def _require(node: Any, keys: set[str], where: str) -> None:
    known = node.keys() if isinstance(node, dict) else set()
    if missing := keys - known:
        raise ClaimError(f"{where!r} lacks {', '.join(sorted(missing))}: see {CLAIMS}")


def _only(node: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := node.keys() - known:
        raise ClaimError(
            f"{where!r} has unknown keys {', '.join(sorted(unknown))}; known: "
            f"{', '.join(sorted(known))}"
        )
