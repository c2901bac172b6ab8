"""The claims of conf/claims.yaml, read and checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import OmegaConf

CLAIMS = Path(__file__).parents[2] / "conf" / "claims.yaml"
_STATISTIC = re.compile(r"(last|last10|mean|reach):\w+")
_SIDES = {"above", "below"}
_FAMILY = {"sweep", "experiment", "source", "statistic", "claims"} | _SIDES
_CLAIM = {"experiment", "source", "statistic", "at_least", "pairs"} | _SIDES
_COST = {"source", "row", "below"}


class ClaimError(ValueError):
    """A claim that cannot be tested as it is written; the message says where and why."""


class Pair(NamedTuple):
    """One comparison: the mean of some arms' statistic less that of others, seed by seed."""

    experiment: str
    statistic: str
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


class Claim(NamedTuple):
    """A sentence, where it stands, and the pairs of which `at_least` so many must hold."""

    text: str
    family: str
    source: str
    sweep: str
    pairs: tuple[Pair, ...]
    at_least: int

    @property
    def experiment(self) -> str:
        return self.pairs[0].experiment


class Cost(NamedTuple):
    """A claim about a row of the benchmark: its ratio is below a bound."""

    text: str
    source: str
    row: str  # its name, in which a * stands for anything
    bound: float


class Claims(NamedTuple):
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
    if content["correction"] != "holm":
        raise ClaimError(f"{path}: correction must be holm, got {content['correction']!r}")
    claims = []
    for name, family in content["families"].items():
        _only(family, _FAMILY, name)
        for text, claim in family["claims"].items():
            _only(claim, _CLAIM, text)
            sides = _SIDES if claim.keys() & _SIDES else set()  # its own replaces its family's
            shared = {key: value for key, value in family.items() if key not in sides}
            claims.append(_claim(text, name, {**shared, **claim}))
    costs = []
    for text, cost in content["cost"]["claims"].items():
        _only(cost, _COST, text)
        costs.append(Cost(text, cost["source"], cost["row"], float(cost["below"])))
    texts = [claim.text for claim in (*claims, *costs)]
    if twice := {text for text in texts if texts.count(text) > 1}:
        raise ClaimError(f"{path}: stands twice: {', '.join(twice)}")
    another_base = {name: float(limit) for name, limit in content["another_base"].items()}
    return Claims(float(content["level"]), another_base, claims, costs)


def _claim(text: str, family: str, node: dict[str, Any]) -> Claim:
    missing = {"sweep", "experiment", "source", "statistic", "pairs"} - node.keys()
    if missing:
        raise ClaimError(f"{text!r} lacks {', '.join(sorted(missing))}")
    if not _STATISTIC.fullmatch(node["statistic"]):
        raise ClaimError(
            f"{text!r}: statistic must be last, last10, mean or reach and a column, as "
            f"last:test_accuracy, got {node['statistic']!r}"
        )
    sides = node.keys() & _SIDES
    if len(sides) != 1:
        raise ClaimError(f"{text!r} must say either above or below")
    side = sides.pop()
    pairs = tuple(
        _pair(text, pair, node, float(node[side]), 1 if side == "above" else -1)
        for pair in node["pairs"]
    )
    at_least = node.get("at_least", len(pairs))
    if not 1 <= at_least <= len(pairs):
        raise ClaimError(f"{text!r}: at_least must be in 1 … {len(pairs)}, got {at_least}")
    return Claim(text, family, node["source"], node["sweep"], pairs, at_least)


def _pair(text: str, pair: list[Any], node: dict[str, Any], bound: float, sign: int) -> Pair:
    if len(pair) not in (2, 3):
        raise ClaimError(f"{text!r}: a pair is [arm, arm] or [arm, arm, published], got {pair}")
    arms, than = (tuple(each) if isinstance(each, list) else (each,) for each in pair[:2])
    if node["statistic"].startswith("reach:") and len(than) != 1:
        raise ClaimError(f"{text!r}: reach compares with one arm, got {', '.join(than)}")
    published = float(pair[2]) if len(pair) == 3 else None
    return Pair(node["experiment"], node["statistic"], arms, than, bound, sign, published)


def _only(node: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := node.keys() - known:
        raise ClaimError(
            f"{where!r} has unknown keys {', '.join(sorted(unknown))}; known: "
            f"{', '.join(sorted(known))}"
        )
