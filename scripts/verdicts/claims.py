"""The claims of conf/claims.yaml, read and checked."""

from __future__ import annotations

import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from experiments.configuration import CONF, choices
from experiments.tasks import Column, task_module
from scripts.catalogue import ITEMS
from scripts.titles import task_of
from scripts.verdicts.claim import (
    JUDGED_SCALES,
    LEAST_SEEDS,
    Claim,
    Claims,
    Cost,
    Pair,
    Trend,
    mean_pair,
)

CLAIMS = CONF / "claims.yaml"
STATISTICS = ("last", "last10", "mean", "reach")
_OCTAVES = Column("octaves", digits=1, unit=" octaves")
_OCTAVES_BY = ("rate", "mean_step")
_SIDES = {"above", "below"}
_NEEDED = {"experiment", "source", "statistic", "stated"}
_FAMILY = _NEEDED | _SIDES | {"sweep", "claims", "margin", "exploratory", "omnibus", "judged_at"}
_CLAIM = _NEEDED | _SIDES | {"at_least", "pairs", "trend", "seeds", "margin"}
_COST = {"source", "row", "below"}


class ClaimError(ValueError):
    """A claim that cannot be tested as it is written; the message says where and why."""


def read_claims(path: Path = CLAIMS) -> Claims:
    """Read all claims. Raises ClaimError for one that is not written as the file's head says."""
    try:
        # OmegaConf refuses a key that stands twice, of which yaml alone keeps the last
        content = OmegaConf.to_container(OmegaConf.load(path))
    except yaml.YAMLError as error:
        raise ClaimError(f"{path} is no YAML: {error}") from error
    keys = {*Claims._fields} - {"claims", "costs"} | {"families", "cost"}
    _only(content, keys, str(path))
    _require(content, keys, str(path))
    _only(content["cost"], {"claims"}, "cost")
    _require(content["cost"], {"claims"}, "cost")
    named = {key: content[key] for key in ("planning_spread", "another_base", "families")}
    for key, node in ({"the claims of cost": content["cost"]["claims"]} | named).items():
        if not isinstance(node, dict):
            raise ClaimError(f"{path}: {key} must have a key for each, got {node!r}")
    claims = []
    for name, family in content["families"].items():
        _only(family, _FAMILY, name)
        if not isinstance(family.get("claims"), dict):
            raise ClaimError(f"{name!r} must have claims, got {family.get('claims')!r}")
        of_family = [
            _claim(text, name, _inherited(text, claim, family))
            for text, claim in family["claims"].items()
        ]
        claims += [*_omnibus(family.get("omnibus"), of_family), *of_family]
    costs = []
    for text, cost in content["cost"]["claims"].items():
        _only(cost, _COST, text)
        _require(cost, _COST, text)
        bound = _number(text, "below", cost["below"])
        costs.append(Cost(text, cost["source"], cost["row"], bound))
    texts = [claim.text for claim in (*claims, *costs)]
    if twice := {text for text in texts if texts.count(text) > 1}:
        raise ClaimError(f"{path}: stands twice: {', '.join(twice)}")
    return Claims(
        _number(str(path), "false_findings", content["false_findings"]),
        _time("margins_stated", content["margins_stated"]),
        *(
            {name: _number(key, name, number, 0.0) for name, number in content[key].items()}
            for key in ("planning_spread", "another_base")
        ),
        claims,
        costs,
    )


def _inherited(text: str, claim: dict[str, Any], family: dict[str, Any]) -> dict[str, Any]:
    """A claim with what its family says for all; its own side replaces its family's."""
    _only(claim, _CLAIM, text)
    sides = _SIDES if claim.keys() & _SIDES else set()
    return {**{key: value for key, value in family.items() if key not in sides}, **claim}


def _claim(text: str, family: str, node: dict[str, Any]) -> Claim:
    _require(node, _NEEDED, text)
    if len(node.keys() & _SIDES) != 1:
        raise ClaimError(f"{text!r} must say either above or below")
    if len(node.keys() & {"pairs", "trend"}) != 1:
        raise ClaimError(f"{text!r} must have either pairs or a trend")
    listed = node["pairs"] if "pairs" in node else node["trend"]
    if not (isinstance(listed, list) and listed and all(isinstance(of, list) for of in listed)):
        raise ClaimError(f"{text!r}: pairs and a trend are lists of lists of arms, got {listed!r}")
    column = _column(text, node["experiment"], str(node["statistic"]))
    one = _trend if "trend" in node else _pair
    comparisons = tuple(one(text, of, node, column) for of in listed)
    at_least = node.get("at_least", len(comparisons))
    if at_least not in range(1, len(comparisons) + 1):
        raise ClaimError(f"{text!r}: at_least must be in 1 … {len(comparisons)}, got {at_least}")
    judged_at = node.get("judged_at", JUDGED_SCALES)
    scales = choices("scale")
    if not isinstance(judged_at, list | tuple) or not {*judged_at} <= {*scales}:
        raise ClaimError(
            f"{text!r}: judged_at must be a list of {', '.join(scales)}, got {judged_at!r}"
        )
    claim = Claim(
        text, family, node["source"], _time(text, node["stated"]), node.get("sweep"),
        comparisons, at_least, bool(node.get("exploratory", False)),
        judged_at=tuple(judged_at),
    )  # fmt: skip
    _check_arms(claim)
    return claim


def _omnibus(text: str | None, members: list[Claim]) -> list[Claim]:
    """The claim about the mean of a family's pairs, if the family has one."""
    if text is None:
        return []
    pairs = [pair for claim in members for pair in claim.comparisons]
    kinds = {(getattr(pair, "number", None), len(pair.arms), len(pair.than)) for pair in pairs}
    alike = {(pair.statistic, pair.sign, pair.bound) for pair in pairs}
    if kinds != {(0.0, 1, 1)} or len(alike) > 1 or members[0].exploratory:
        raise ClaimError(
            f"{text!r}: the mean of a family's claims is of pairs of one arm each, by one "
            "statistic and bound, that are not exploratory"
        )
    mean = (mean_pair(pairs),)
    return [members[0]._replace(text=text, comparisons=mean, at_least=1, omnibus=True)]


def _time(text: str, value: Any) -> str:
    """A day or a minute in UTC; as texts they stand in their order."""
    given = str(value)
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\dZ)?", given):
            raise ValueError
        datetime.fromisoformat(given)
    except ValueError as error:
        raise ClaimError(
            f"{text!r}: stated must be as 2026-11-25 or 2026-11-25T14:30Z, got {value!r}"
        ) from error
    return given


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _number(text: str, key: str, value: Any, least: float = -math.inf) -> float:
    if not _is_number(value) or isinstance(value, bool) or not least <= value < math.inf:
        what = "a number" if least == -math.inf else f"a number of at least {least:g}"
        raise ClaimError(f"{text!r}: {key} must be {what}, got {value!r}")
    return float(value)


def _column(text: str, experiment: str, statistic: str) -> Column:
    """The column that a statistic is of, as the experiment's task declares it."""
    advice = "add a file to conf/experiment, or correct it"
    _one_of(text, "experiment", experiment, choices("experiment"), advice)
    try:
        columns = task_module(task_of(experiment)).COLUMNS
    except (ImportError, AttributeError) as error:
        raise ClaimError(f"{text!r}: the task of {experiment} is not known: {error}") from error
    kind, _, name = statistic.partition(":")
    if kind == "octaves" and name in _OCTAVES_BY and "mean_step" in columns:
        return _OCTAVES
    if kind not in STATISTICS or name not in columns:
        raise ClaimError(
            f"{text!r}: statistic must be last, last10, mean or reach, a colon and a column of "
            f"{experiment} ({', '.join(columns)}), as last:{next(iter(columns))}, or, of one with "
            f"mean_step, octaves:rate or octaves:mean_step, got {statistic!r}"
        )
    return columns[name]


def _pair(text: str, pair: list[Any], node: dict[str, Any], column: Column) -> Pair:
    if len(pair) not in (2, 3) or _is_number(pair[0]):
        raise ClaimError(f"{text!r}: a pair is [arm, arm] or [arm, arm, published], got {pair}")
    number = _number(text, "what is compared with", pair[1]) if _is_number(pair[1]) else 0.0
    arms, than = (
        tuple(side) if isinstance(side, list) else () if _is_number(side) else (side,)
        for side in pair[:2]
    )
    if node["statistic"].startswith("reach:") and len(than) != 1:
        raise ClaimError(f"{text!r}: reach compares with one arm, got {', '.join(than) or number}")
    side, sign = ("above", 1) if "above" in node else ("below", -1)
    bound = _number(text, side, node[side])
    published = _number(text, "published", pair[2]) if len(pair) == 3 else None
    margin = node.get("margin", abs(published) / 2 if published and not bound else None)
    if margin is not None:
        margin = _number(text, "margin", margin, 0.0)
    if margin is not None and bound:
        raise ClaimError(f"{text!r}: a margin lies around 0, {side}: {bound:g} takes margin: null")
    names = node["experiment"], node["statistic"], column, sign
    return Pair(*names, arms, than, number, bound, published, margin)


def _trend(text: str, arms: list[str], node: dict[str, Any], column: Column) -> Trend:
    seeds = _number(text, "seeds", node.get("seeds", 0))
    if node["statistic"].startswith("octaves:"):
        raise ClaimError(f"{text!r}: a trend is of a column, got {node['statistic']}")
    if len(arms) < 3 or seeds < LEAST_SEEDS:
        raise ClaimError(
            f"{text!r}: a trend is of three arms or more, at `seeds: 8`, {LEAST_SEEDS} or more"
        )
    sign = 1 if "above" in node else -1
    return Trend(node["experiment"], node["statistic"], column, sign, tuple(arms), int(seeds))


def _check_arms(claim: Claim) -> None:
    """Refuse arms that no run can have: of an unknown optimizer, or not of the claim's sweep."""
    text = claim.text
    optimizers = choices("optimizer")
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


def _require(node: dict[str, Any], keys: set[str], where: str) -> None:
    if missing := keys - node.keys():
        raise ClaimError(f"{where!r} lacks {', '.join(sorted(missing))}: see {CLAIMS}")


def _only(node: Any, known: set[str], where: str) -> None:
    if not isinstance(node, dict):
        raise ClaimError(f"{where!r} must have keys ({', '.join(sorted(known))}), got {node!r}")
    if unknown := node.keys() - known:
        raise ClaimError(
            f"{where!r} has unknown keys {', '.join(sorted(unknown))}; known: "
            f"{', '.join(sorted(known))}"
        )
