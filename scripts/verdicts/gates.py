"""What keeps a claim from a verdict: a side that collapsed, a base unlike the paper's."""

from __future__ import annotations

import math
from statistics import fmean

from scripts.gather import Experiment
from scripts.tables.cells import values
from scripts.verdicts import regime
from scripts.verdicts.claim import Claim, Claims, Pair, Trend, mean_pair, of_octaves
from scripts.verdicts.compare import collapsed, published_values

# By experiment and arm: why nothing can be compared with it, and how far it is from the paper
Unlike = dict[tuple[str, str], tuple[str, float]]


def base_of(arm: str) -> str:
    """The optimizer without any method, of which an arm is one."""
    return arm.partition("+")[0]


def unlike_arms(claims: Claims, experiments: dict[str, Experiment], scale: str) -> Unlike:
    """By experiment and arm: why nothing can be compared with it, and how far it is from the paper.

    The distance is infinite for an arm that collapsed, and for all arms of a base that is not in
    the paper's regime (regime.py) at scale mid; of others it matters at the paper's scale.
    """
    reasons = {}
    papers = published_values() if scale == "paper" else {}
    for name, experiment in experiments.items():
        for arm, runs in experiment.arms.items():
            paper = papers.get((name, arm), math.nan)
            results = values(runs, experiment.task.RESULT, experiment.result, "last")
            here = fmean(results or [math.nan])
            if collapsed(runs):
                reasons[name, arm] = f"{arm} collapsed ({here:.4g})", math.inf
            elif name in claims.another_base and abs(here - paper) > claims.another_base[name]:
                reasons[name, arm] = f"{arm} {here:.4g}, published {paper:.4g}", abs(here - paper)
            elif scale == regime.SCALE:
                base = base_of(arm)
                if why := regime.missed(experiment[base]):
                    text = f"{base} misses a bound of scale {scale}: {'; '.join(why)}"
                    reasons[name, arm] = text, math.inf
    return reasons


def mean_of_family(claim: Claim, claims: Claims, unlike: Unlike) -> tuple[tuple[Pair, ...], str]:
    """An omnibus claim's pair, and why it cannot be compared.

    The mean is over those of its family that can be compared; if they are not several, over those
    that have converged and not collapsed.
    """
    members = [
        (pair, other)
        for other in claims.claims
        if other.family == claim.family and not other.omnibus
        for pair in other.comparisons
    ]
    alike = [pair for pair, other in members if not reason(pair, other, pair.published, unlike)]
    if len(alike) > 1:
        return (mean_pair(alike),), ""
    able = [pair for pair, other in members if not reason(pair, other, None, unlike)]
    pairs = (mean_pair(able),) if len(able) > 1 else claim.comparisons
    return pairs, "fewer than two of its bases are the paper's"


def reason(pair: Pair | Trend, claim: Claim, gain: float | None, unlike: Unlike) -> str:
    """Why a pair cannot be compared: a side collapsed, or its base is not the paper's."""
    if of_octaves(pair):  # a rate at which an arm collapses is an answer
        return ""
    for arm in (*pair.arms, *pair.than):
        why, distance = unlike.get((pair.experiment, arm), ("", 0.0))
        far = gain is not None and arm in pair.than and distance > abs(gain)
        if math.isinf(distance) or (far and not claim.omnibus):
            return why
    return ""
