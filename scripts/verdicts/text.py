"""Which of the paper's claims hold, from run folders: `python -m scripts.verdicts --scale lite`.

Writes <out>/<scale>/verdicts.{csv,md}, a row for each claim of conf/claims.yaml, and pairs.csv, a
row for each comparison with the run folders that it is made of. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from experiments.record.atomic import write
from experiments.record.reader import RecordError, read_runs
from scripts.gather import ResultError
from scripts.tables.formats import MISSING, pipes
from scripts.titles import title
from scripts.verdicts.claims import ClaimError, Pair, read_claims
from scripts.verdicts.intervals import MOST_SEEDS, Paired, needed_seeds
from scripts.verdicts.judge import (
    CONTRADICTED,
    NOT_RUN,
    SUPPORTED,
    VERDICTS,
    Tested,
    Verdict,
    judge,
)

OTHER_BASE = ", other base"
HEADER = ("Claim", "Source", "Verdict", "n", "Mean difference", "Published", "g", "Seeds needed")


def frames(verdicts: list[Verdict], scale: str, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per claim, and a row per pair with its seeds and run folders (under runs/<scale>)."""
    claims, pairs = [], []
    for verdict in verdicts:
        claim = verdict.claim
        counts = Counter(each.verdict for each in verdict.tested)
        head = {"scale": scale, "claim": claim.text, "source": claim.source}
        claims.append(
            {**head, "family": claim.family, "verdict": verdict.verdict}
            | {"other_base": " ".join(each.arm for each in verdict.unlike)}
            | {"pairs": len(verdict.tested), "at_least": claim.at_least}
            | {word.replace(" ", "_"): counts[word] for word in VERDICTS}
        )
        for each in verdict.tested:
            pair, found = each.pair, each.measured
            folders = [
                f"{pair.experiment}/{arm}/seed{seed}"
                for arm in (*pair.arms, *pair.than)
                for seed in found.seeds
            ]
            pairs.append(
                {**head, "pair": pair.label, "statistic": pair.statistic}
                | {"claimed": f"{'above' if pair.sign > 0 else 'below'} {pair.bound:g}"}
                | {"verdict": each.verdict, "published": pair.published}
                | {"first": found.first, "second": found.second}
                | each.result._asdict()
                | {"seeds_needed": needed_seeds(each.result.effect, level)}
                | {"p_holm": each.adjusted, "diverged": diverged([each])}
                | {"mixed": " ".join(map(str, found.mixed))}
                | {"differences": " ".join(f"{value:.6g}" for value in found.differences)}
                | {"runs": " ".join(folders)}
            )
    return pd.DataFrame(claims), pd.DataFrame(pairs)


def interval(result: Paired, digits: int = 2) -> str:
    """`+0.31 [+0.02, +0.60]`, without an interval for one seed, or a dash for none."""
    if not result.n:
        return MISSING
    mean = f"{result.mean:+.{digits}f}"
    if math.isnan(result.low):
        return mean
    return f"{mean} [{result.low:+.{digits}f}, {result.high:+.{digits}f}]"


def needed(effect: float, level: float) -> str:
    """The number of seeds that 80 % power would need, or a dash; `4 (against)` for an effect that
    speaks against the claim."""
    seeds = needed_seeds(effect, level)
    if math.isnan(seeds):
        return MISSING
    if math.isinf(seeds):
        return f"> {MOST_SEEDS}"
    return f"{seeds:.0f}" + (" (against)" if effect < 0 else "")


def digits_of(pair: Pair) -> int:
    """Decimals of a statistic's differences: epochs, points of percent, or fractions and losses."""
    if pair.statistic.startswith("reach:"):
        return 1
    return 2 if "accuracy" in pair.statistic and "pixel" not in pair.statistic else 3


def unit_of(pair: Pair) -> str:
    """What a statistic's differences are counted in; nothing for fractions and losses."""
    if pair.statistic.startswith("reach:"):
        return " epochs"
    return " points" if digits_of(pair) == 2 else ""


def diverged(tested: Sequence[Tested]) -> str:
    """`adam+lrd0.5 at seed 0, 1`, of the pairs' runs that diverged; empty if none did."""
    lost: dict[str, set[int]] = {}
    for each in tested:
        for arm, seeds in each.measured.diverged.items():
            lost.setdefault(arm, set()).update(seeds)
    words = [f"{arm} at seed {', '.join(map(str, sorted(seeds)))}" for arm, seeds in lost.items()]
    return "; ".join(words)


def seeds_of(verdict: Verdict) -> str:
    """`3`, or `1–3` where the pairs differ."""
    counts = [each.result.n for each in verdict.tested]
    return "–".join(dict.fromkeys(str(count) for count in (min(counts), max(counts))))


def evidence(verdict: Verdict) -> str:
    """A claim's number: its pair's difference, or how many pairs speak for and against it."""
    if verdict.verdict == NOT_RUN:
        return MISSING
    tested = [each for each in verdict.tested if each.result.n]
    if len(verdict.tested) == 1:
        text = MISSING
        if tested:
            pair = tested[0].pair
            text = interval(tested[0].result, digits_of(pair)) + unit_of(pair)
    else:
        counts = Counter(each.verdict for each in verdict.tested)
        total, asked = len(verdict.tested), verdict.claim.at_least
        text = (
            f"{counts[SUPPORTED]} of {total} significantly so"
            + (f" ({asked} needed)" if asked < total else "")
            + f", {counts[CONTRADICTED]} significantly not"
            + (f", {counts[NOT_RUN]} not run" if counts[NOT_RUN] else "")
        )
        if tested:
            digits = digits_of(tested[0].pair)
            means = [each.result.mean for each in tested]
            unit = unit_of(tested[0].pair)
            text += f"; means {min(means):+.{digits}f} to {max(means):+.{digits}f}{unit}"
    lost = diverged(verdict.tested)
    return text + (f"; diverged: {lost}" if lost else "")


def markdown(verdicts: list[Verdict], scale: str, level: float) -> str:
    """The claims' table as Markdown."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    found = ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])
    table = pipes(HEADER, [row(each, level) for each in verdicts])
    lines = [*notes(level), *unlike(verdicts)]
    return "\n".join(
        [f"Claims at scale {scale}: {found}.", "", table, "", *(f"- {line}" for line in lines), ""]
    )


def row(verdict: Verdict, level: float) -> list[str]:
    """A claim's cells."""
    alone = verdict.tested[0] if len(verdict.tested) == 1 else None
    pairs = verdict.claim.pairs
    difference = pairs[0].published if len(pairs) == 1 else None
    effect = alone.result.effect * alone.pair.sign if alone else math.nan
    return [
        verdict.claim.text,
        verdict.claim.source,
        word(verdict),
        MISSING if verdict.verdict == NOT_RUN else seeds_of(verdict),
        evidence(verdict),
        MISSING if difference is None else f"{difference:+g}",
        MISSING if math.isnan(effect) else f"{effect:+.1f}",
        needed(effect, level),
    ]


def word(verdict: Verdict) -> str:
    """`supported`, or `supported, other base` where that is not the paper's."""
    other = verdict.unlike and verdict.verdict != NOT_RUN
    return verdict.verdict + (OTHER_BASE if other else "")


def notes(level: float) -> list[str]:
    """How the table is to be read."""
    return [
        f"n: seeds that both sides have. In brackets: the {100 * (1 - level):g} % t interval of "
        "the mean paired difference, not corrected for the other claims. g: Hedges' g of the "
        "pairs, Cohen's d corrected for few seeds, against the claim's bound; positive speaks for "
        "the claim.",
        f"Verdict: two-sided paired t test, Holm-corrected within the claim's family at "
        f"{level:g}. One seed decides nothing, nor do seeds that differ by exactly the same. A "
        "claim of several comparisons says how many of them are significant; pairs.csv has each, "
        "and in its column `mixed` the seeds whose two sides were run on different processors, "
        "where rounding differs as well.",
        "Seeds needed: for a power of 80 % without correction, if the effect were what these "
        "seeds show; from few seeds it is no more than a hint.",
        "Other base: an arm that is compared with ends far from the paper's value for it (by the "
        "limits in conf/claims.yaml), so the claim is tested against another base than the "
        "paper's.",
    ]


def unlike(verdicts: Iterable[Verdict]) -> list[str]:
    """The bases that are not the paper's, with the claims' experiment."""
    lines: dict[str, dict[str, None]] = {}
    for verdict in verdicts:
        for base in verdict.unlike if verdict.verdict != NOT_RUN else []:
            text = f"{base.arm} {base.here:.4g} ({base.there:.4g})"
            lines.setdefault(verdict.claim.experiment, {})[text] = None
    return [
        f"Other bases in {title(experiment)}, last epoch here (published): {', '.join(words)}."
        for experiment, words in lines.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--out", type=Path, default=Path("results/tables"))
    options = parser.parse_args(arguments)
    try:
        claims = read_claims()
        verdicts = judge(claims, read_runs(options.runs_dir, scale=options.scale).runs)
    except (ClaimError, ResultError, RecordError) as error:
        sys.exit(f"error: {error}")
    print(write_verdicts(verdicts, options.out, options.scale, claims.level))


def write_verdicts(verdicts: list[Verdict], out: Path, scale: str, level: float) -> str:
    """Write verdicts.{csv,md} and pairs.csv, and return the Markdown."""
    text = markdown(verdicts, scale, level)
    (out / scale).mkdir(parents=True, exist_ok=True)
    write(out / scale / "verdicts.md", text.encode())
    for name, frame in zip(("verdicts", "pairs"), frames(verdicts, scale, level), strict=True):
        content = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write(out / scale / f"{name}.csv", content.encode())
    return text


if __name__ == "__main__":
    main()
