"""The runner, its tasks and the record of a run."""

from experiments.mkl import take_intel_kernels

take_intel_kernels()
