"""Which of the paper's claims hold, from run folders: `python -m scripts.verdicts --scale lite`.

Writes <out>/<scale>/verdicts.{csv,md}, a row for each claim of conf/claims.yaml, and pairs.csv, a
row for each comparison with the run folders that it is made of. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from experiments.record import RecordError, read_runs
from scripts.arms import ResultError, published, write_whole
from scripts.claims import ClaimError, Pair, read_claims
from scripts.inference import MOST_SEEDS, Paired, needed_seeds
from scripts.judge import CONTRADICTED, NOT_RUN, SUPPORTED, VERDICTS, Verdict, judge
from scripts.tables import MISSING, pipes

HEADER = ("Claim", "Source", "Verdict", "n", "Mean difference", "Published", "d", "Seeds needed")


def frames(verdicts: list[Verdict], scale: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per claim, and a row per pair with its seeds and run folders (under runs/<scale>)."""
    claims, pairs = [], []
    for verdict in verdicts:
        claim = verdict.claim
        counts = Counter(each.verdict for each in verdict.tested)
        head = {"scale": scale, "claim": claim.text, "source": claim.source}
        claims.append(
            {**head, "family": claim.family, "verdict": verdict.verdict}
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
                | {"p_holm": each.adjusted, "diverged": " ".join(map(str, found.diverged))}
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
    """The number of seeds that 80 % power would need, or a dash."""
    seeds = needed_seeds(effect, level)
    if math.isnan(seeds):
        return MISSING
    return f"> {MOST_SEEDS}" if math.isinf(seeds) else f"{seeds:.0f}"


def digits_of(pair: Pair) -> int:
    """Decimals of a statistic's differences: epochs, points of percent, or fractions and losses."""
    if pair.statistic.startswith("reach:"):
        return 1
    return 2 if "accuracy" in pair.statistic and "pixel" not in pair.statistic else 3


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
            text = interval(tested[0].result, digits_of(tested[0].pair))
    else:
        counts = Counter(each.verdict for each in verdict.tested)
        total, asked = len(verdict.tested), verdict.claim.at_least
        text = (
            f"{counts[SUPPORTED]} of {total} significantly so"
            + (f" ({asked} needed)" if asked < total else "")
            + f", {counts[CONTRADICTED]} significantly not"
        )
        if tested:
            digits = digits_of(tested[0].pair)
            means = [each.result.mean for each in tested]
            text += f"; means {min(means):+.{digits}f} to {max(means):+.{digits}f}"
    lost = sorted({seed for each in verdict.tested for seed in each.measured.diverged})
    return text + (f"; diverged at seed {', '.join(map(str, lost))}" if lost else "")


def markdown(verdicts: list[Verdict], scale: str, level: float) -> str:
    """The claims' table as Markdown."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    found = ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])
    table = pipes(HEADER, [row(each, level) for each in verdicts])
    lines = [*notes(level), *unlike(verdicts, scale)]
    return "\n".join(
        [f"Claims at scale {scale}: {found}.", "", table, "", *(f"- {line}" for line in lines), ""]
    )


def row(verdict: Verdict, level: float) -> list[str]:
    """A claim's cells."""
    alone = verdict.tested[0] if len(verdict.tested) == 1 else None
    pairs = verdict.claim.pairs
    difference = pairs[0].published if len(pairs) == 1 else None
    effect = alone.result.effect if alone else math.nan
    return [
        verdict.claim.text,
        verdict.claim.source,
        verdict.verdict,
        MISSING if verdict.verdict == NOT_RUN else seeds_of(verdict),
        evidence(verdict),
        MISSING if difference is None else f"{difference:+g}",
        MISSING if math.isnan(effect) else f"{effect:+.1f}",
        needed(effect, level),
    ]


def notes(level: float) -> list[str]:
    """How the table is to be read."""
    return [
        f"n: seeds that both sides have. In brackets: the {100 * (1 - level):g} % t interval of "
        "the mean paired difference, not corrected for the other claims. d: Cohen's d of the "
        "pairs, against the claim's bound.",
        f"Verdict: two-sided paired t test, Holm-corrected within the claim's family at "
        f"{level:g}. One seed decides nothing. A claim of several comparisons says how many of "
        "them are significant; pairs.csv has each.",
        "Seeds needed: for a power of 80 % without correction, if the effect were what these "
        "seeds show; from few seeds it is no more than a hint.",
    ]


def unlike(verdicts: list[Verdict], scale: str) -> list[str]:
    """Claims whose base ends so far from the published value that theirs is another comparison.

    So far: by more than ten times the published difference. Only at the paper's scale: others are
    not expected to come near it.
    """
    lines = []
    for verdict in verdicts if scale == "paper" else []:
        for each in verdict.tested:
            pair, base = each.pair, each.measured.second
            if pair.published is None or len(pair.than) != 1:
                continue
            paper = published(verdict.claim.sweep).set_index(["experiment", "metric", "arm"])
            column = pair.statistic.removeprefix("last:")
            value = paper["value"][pair.experiment, column, pair.than[0]]
            if abs(base - value) > 10 * abs(pair.published):
                digits = digits_of(pair)
                lines.append(
                    f"{verdict.claim.text}: not the comparison that the paper made. The base, "
                    f"{pair.than[0]}, ends at {base:.{digits}f} here and at {value:.{digits}f} "
                    "there."
                )
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--out", type=Path, default=Path("results/tables"))
    options = parser.parse_args(arguments)
    try:
        claims = read_claims()
        verdicts = judge(claims, read_runs(options.runs_dir, scale=options.scale))
    except (ClaimError, ResultError, RecordError) as error:
        sys.exit(f"error: {error}")
    print(write_verdicts(verdicts, options.out, options.scale, claims.level))


def write_verdicts(verdicts: list[Verdict], out: Path, scale: str, level: float) -> str:
    """Write verdicts.{csv,md} and pairs.csv, and return the Markdown."""
    text = markdown(verdicts, scale, level)
    write_whole(out / scale / "verdicts.md", text.encode())
    for name, frame in zip(("verdicts", "pairs"), frames(verdicts, scale), strict=True):
        content = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write_whole(out / scale / f"{name}.csv", content.encode())
    return text


if __name__ == "__main__":
    main()
