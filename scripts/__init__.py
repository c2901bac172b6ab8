"""What is made of runs: tables, figures, verdicts, the report, benchmarks, and decide."""

import experiments  # noqa: F401  # before torch, which LRD_MKL must be
