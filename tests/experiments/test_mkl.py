"""Intel's kernels of MKL: taken before torch, and named in the record."""

import json

import pytest
import torch

from experiments import mkl
from helpers.commands import command, python

SUFFIX = ", Intel's kernels of MKL"
INTEL = "GenuineIntel"
# as on another maker's processor, whichever this one is
FORCED = """
import os
from pathlib import Path
from experiments import mkl
os.environ["LRD_MKL"] = "intel"
mkl._CPUINFO = Path("nowhere")
mkl.take_intel_kernels()
from experiments.record.machine import environment
import torch
print(environment(torch.device("cpu"))["cpu"])
"""
NEEDS_MKL = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch without MKL")


@NEEDS_MKL
def test_the_record_names_the_kernels_that_mkl_takes():
    done = python("-c", FORCED)
    assert done.stdout.strip().endswith(SUFFIX), done.stderr


def test_a_missing_compiler_is_said():
    done = python("-c", FORCED, CC="no-such-compiler")
    assert done.returncode
    assert "LRD_MKL=intel" in done.stderr
    assert "install a C compiler" in done.stderr


def test_kernels_that_mkl_never_asked_for_fail_the_run(tmp_path):
    source, _, _ = FORCED.replace("mkl.take", "mkl._SOURCE = 'int asked;'; mkl.take").partition(
        "from experiments.record"
    )
    words = ["run", "experiment=digits", "scale=smoke", f"runs_dir={tmp_path}"]
    start = f"import runpy, sys; sys.argv = {words}\nrunpy.run_module('experiments.run', None, "
    done = python("-c", f"{source}{start}'__main__', True)")
    assert done.returncode == 1
    assert "LRD_MKL=intel: this torch multiplies without MKL" in done.stderr


def test_the_suites_other_commands_take_it_before_torch_too():
    """`python -m scripts.plan` imports their package first."""
    done = python("-c", "import sys, scripts; print({'torch', 'experiments.mkl'} & {*sys.modules})")
    assert done.stdout == "{'experiments.mkl'}\n", done.stderr


@NEEDS_MKL
@pytest.mark.skipif(mkl._CPUINFO.exists() and INTEL in mkl._CPUINFO.read_text(), reason="its own")
def test_a_run_is_recorded_with_them(tmp_path):
    words = ("experiment=digits", "scale=smoke", f"runs_dir={tmp_path}")
    for seed, value in enumerate(("", "intel")):
        done = command(*words, f"seed={seed}", LRD_MKL=value)
        assert done.returncode == 0, done.stderr
    records = sorted(tmp_path.rglob("run.json"))
    plain, asked = (json.loads(path.read_text())["cpu"] for path in records)
    assert asked == plain + SUFFIX


def test_intels_own_processors_take_them_by_themselves(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {INTEL}\n")
    monkeypatch.setenv("LRD_MKL", "intel")
    monkeypatch.setattr(mkl, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(mkl, "_answer", None)
    mkl.take_intel_kernels()  # though torch is loaded
    assert mkl.kernels() == ""


def test_another_value_is_refused():
    done = command("experiment=digits", LRD_MKL="amd")
    assert done.returncode
    assert "LRD_MKL=amd: expected intel" in done.stderr


def test_a_torch_that_is_loaded_already_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("LRD_MKL", "intel")
    monkeypatch.setattr(mkl, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(mkl, "_answer", None)
    with pytest.raises(SystemExit, match="torch is loaded already"):
        mkl.take_intel_kernels()
    assert mkl.kernels() == ""
