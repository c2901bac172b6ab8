"""Load every data set of conf/data, downloading what is missing: `python -m scripts.fetch`.

Data sets go to, or are read from, the folder that the variable LRD_DATA names (data/raw).
"""

from __future__ import annotations

import sys
from pathlib import Path

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from data.batches import DataError

_CONF = Path(__file__).parent.parent / "conf" / "data"


def main() -> None:
    """Print each data set's provenance; exit status 1 if any cannot be had."""
    missing = 0
    for path in sorted(_CONF.glob("*.yaml")):
        try:
            provenance = instantiate(OmegaConf.load(path)).provenance
        except InstantiationException as error:
            if not isinstance(error.__cause__, DataError):
                raise
            print(f"error: {path.stem}: {error.__cause__}", file=sys.stderr, flush=True)
            missing += 1  # the others are still worth having
        else:
            facts = ", ".join(f"{key} {value}" for key, value in provenance.items())
            print(f"{path.stem}: {facts}", flush=True)
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
