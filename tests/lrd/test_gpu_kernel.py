"""The kernel for GPUs, where there is none: by Triton's interpreter, and in what it compiles to."""

import os
import re
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
import torch

import lrd
from lrd import step
from lrd.kernels import build

triton = pytest.importorskip("triton", reason="Triton is for Linux")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_gives_the_eager_steps_bits_in_every_rule_dtype_layout_and_size():
    done = subprocess.run(
        [sys.executable, "tests/helpers/interpreted.py"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *different, last = done.stdout.splitlines()
    assert different == []
    assert re.fullmatch(r"[34]\d\d tensors", last)


def ptx(dtype, *definitions):
    """The code for an H100."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from lrd.kernels import gpu

    constants = gpu.arguments((*definitions, f"TYPE_{dtype}"))
    constants |= {"ROW": gpu.ROW, "TILE": gpu._TILE}
    names = gpu._step.arg_names
    types = dict(zip(names, ["*i64", "*i32", *["i32"] * 5], strict=False))
    types |= dict.fromkeys(constants, "constexpr")
    places = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(gpu._step, types, constexprs=places)
    options = {"num_warps": gpu._WARPS, "enable_fp_fusion": False}
    return triton.compile(source, GPUTarget("cuda", 90, 32), options=options).asm["ptx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("definitions", "reads", "writes"),
    [
        (("RULE=sgdm", "STATES=1", "MOMENTUM=1"), 3, 2),
        (("RULE=adam", "STATES=3", "AMSGRAD=1"), 5, 4),
        (("RULE=rmsprop", "STATES=3", "MOMENTUM=1", "CENTERED=1"), 5, 4),
        (("RULE=radam", "STATES=2"), 4, 3),
        (("PUT_BACK",), 2, 1),
        (("CAUTIOUS",), 3, 1),
        (("KEEP_COPY",), 1, 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_memory_is_read_16_bytes_at_a_time_without_divisions_of_indices(definitions, reads, writes):
    for dtype, vector, tiles in (("float32", "v4.b32", 2), ("bfloat16", "v4.b32", 1)):
        code = ptx(dtype, *definitions)
        assert len(re.findall(rf"ld\.global\.{vector}", code)) == reads * tiles
        assert len(re.findall(rf"st\.global\.{vector}", code)) == writes * tiles
        assert not re.search(r"(div|rem)\.[su](32|64)", code)
        assert not re.search(r"fma\.|mad\.rn|div\.(full|approx)|sqrt\.approx|\.ftz", code)
        if definitions[0].startswith("RULE") and dtype == "bfloat16":
            assert "cvt.rn.bf16" in code


def test_sizes_of_layouts_divide_by_products():
    from lrd.kernels import gpu

    sizes = [2, 3, 5, 7, 9, 49, 64, 641, 2**16 + 1, 2**29 - 1, 2**30]
    divisors = memoryview(gpu._divisors(array("q", sizes).tobytes())).cast("q")
    for size, divisor in zip(sizes, divisors, strict=True):
        for n in (0, 1, size - 1, size, size + 1, 2**31 // size * size - 1, 2**31 - 1):
            assert (n * (divisor & 0xFFFFFFFF) >> 32) >> (divisor >> 32) == n // size


@pytest.mark.parametrize("wrap", [False, True])
def test_a_step_inside_a_cuda_graph_is_refused_since_its_mask_would_be_replayed(monkeypatch, wrap):
    param = torch.nn.Parameter(torch.ones(50))
    param.grad = torch.ones(50)
    optimizer = lrd.SGD([param], lr=0.1)
    if wrap:
        optimizer = lrd.LearningRateDropout(torch.optim.SGD([param], lr=0.1))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match=r"CUDA graph.*backward.*step outside"):
        optimizer.step()
    assert (param == 1).all()


def test_a_gpus_kernel_that_fails_leads_to_the_eager_step_with_one_warning(monkeypatch):
    def fail(_):
        raise lrd.CompilationError("Triton fails with OutOfResources (too much)", "Ask for less")

    monkeypatch.setattr("lrd.kernels.kernel", fail)
    step.rule_kernel.cache_clear()
    build.kernel.cache_clear()
    params = [torch.nn.Parameter(torch.ones(50)) for _ in range(3)]
    optimizer = lrd.Adam(params)
    for param in params:
        param.grad = torch.ones(50)
    with pytest.warns(UserWarning, match=r"OutOfResources.*Ask for less.*eager"):
        optimizer.step()
    optimizer.step()  # a second warning would be an error
    step.rule_kernel.cache_clear()
    assert optimizer.state[params[0]]["step"] == 2
