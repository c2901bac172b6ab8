"""Load every data set of conf/data, downloading what is missing: `python -m scripts.fetch`.

Data sets go to, or are read from, the folder that the variable LRD_DATA names (data/raw).
"""

from __future__ import annotations

import sys

from omegaconf import OmegaConf

from data.batches import DataError
from experiments.configuration import CONF
from experiments.setting import build


def main() -> None:
    """Print each data set's provenance; exit status 1 if any cannot be had."""
    missing = 0
    for path in sorted((CONF / "data").glob("*.yaml")):
        config = OmegaConf.load(path)
        if "_target_" not in config:  # of a task without data
            continue
        try:
            provenance = build(config).provenance
        except DataError as error:
            print(f"error: {path.stem}: {error}", file=sys.stderr, flush=True)
            missing += 1  # the others are still worth having
        else:
            facts = ", ".join(f"{key} {value}" for key, value in provenance.items())
            print(f"{path.stem}: {facts}", flush=True)
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
