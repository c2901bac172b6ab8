"""The kernels: the eager step's masks, weights and state to the bit, and how they are built."""

import functools
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lrd
from lrd.kernels import build, kernel_available, rule_kernel
from lrd.kernels.table import spans
from tests.lrd.test_optim import CASES, RULES, net

ROOT = Path(__file__).parents[2]
SIZES = [
    (0,),
    (1,),
    (15,),
    (4096,),
    (64, 64, 3),
    (1003,),
    (2, 4099),
    (2**16 + 17,),
    (8,),
    (30, 7),
]
# MKL, by which torch takes square roots on some processors, rounds one in five otherwise than IEEE
# arithmetic, which the kernels follow; with IEEE's roots the eager step has their bits.
pytestmark = pytest.mark.usefixtures("ieee_roots")
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.fixture
def ieee_roots(monkeypatch):
    def sqrt(tensor):
        return torch.from_numpy(np.sqrt(tensor.numpy())) if tensor.is_cpu else torch.sqrt(tensor)

    monkeypatch.setattr(torch.Tensor, "sqrt", sqrt)


def pair(cls, hyper, sizes, dtype=torch.float32, **arguments):
    """The same parameters twice, with an eager optimizer and one with a kernel."""
    sides = []
    for compile in (False, True):
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(size).to(dtype)) for size in sizes]
        sides.append((params, cls(params, **hyper, **arguments, compile=compile)))
    return sides


def step(sides, number):
    for params, optimizer in sides:
        torch.manual_seed(100 + number)
        for param in params:
            param.grad = torch.randn(param.shape).to(param.dtype)
        optimizer.step()


def assert_equal(sides):
    """Weights and state, to the bit."""
    (params, one), (twins, other) = sides
    for param, twin in zip(params, twins, strict=True):
        assert torch.equal(param, twin)
        for name, value in one.state[param].items():
            assert torch.equal(value, other.state[twin][name]), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_gives_the_bits_of_the_eager_step(case, dtype):
    cls, hyper = CASES[case]
    sides = pair(cls, hyper, SIZES, dtype, seed=4, keep_prob=0.3)
    for number in range(8):
        step(sides, number)
    assert_equal(sides)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_gives_the_bits_of_the_eager_step_over_100_steps(rule, dtype):
    cls, hyper = CASES[rule]
    sides = pair(cls, hyper, SIZES, dtype, seed=4)
    for number in range(100):
        step(sides, number)
    assert_equal(sides)


# SHA-256 of the weights after the six steps of `digest`, of the step that torch's compiler made.
GOLDEN = {
    ("sgd", "float32"): "bdeb59671fd4bfd9",
    ("sgdm", "float32"): "f77f1466dec3b382",
    ("sgdm damped", "float32"): "2ede52a9e800cbd0",
    ("nesterov", "float32"): "efd5af841ed60020",
    ("rmsprop", "float32"): "9e58a1a04d6be31e",
    ("rmsprop centered", "float32"): "936e21b0cc82b2a3",
    ("rmsprop momentum", "float32"): "f939501ea8260b31",
    ("adam", "float32"): "76c8668f6c6eea3f",
    ("amsgrad", "float32"): "65661f1dde99dfe0",
    ("adam decoupled", "float32"): "84ea7147badf386a",
    ("adamw", "float32"): "84ea7147badf386a",
    ("adamw amsgrad up", "float32"): "8cce7ecb6a20d583",
    ("radam", "float32"): "334ec52e1601ef53",
    ("radam decoupled", "float32"): "83a51f93209f13f1",
    ("sgd", "float64"): "82fa1970b0a33ed6",
    ("sgdm", "float64"): "d26f202f617a5c27",
    ("sgdm damped", "float64"): "c99d83adabfd55ef",
    ("nesterov", "float64"): "2eb471d1a6d9066d",
    ("rmsprop", "float64"): "2c6ca348f2c04b1e",
    ("rmsprop centered", "float64"): "21bbb713eb37f52f",
    ("rmsprop momentum", "float64"): "da1b203b065b5147",
    ("adam", "float64"): "8059900b7af7f30c",
    ("amsgrad", "float64"): "211f3d2a07c6a4c5",
    ("adam decoupled", "float64"): "228fa336a0a8335e",
    ("adamw", "float64"): "228fa336a0a8335e",
    ("adamw amsgrad up", "float64"): "aac13f49d48e8135",
    ("radam", "float64"): "b9feb00e67ba1e93",
    ("radam decoupled", "float64"): "fa98f77412923bde",
    ("sgd", "bfloat16"): "5d97beb4826d5a59",
    ("sgdm", "bfloat16"): "a1c98d9a38c8b294",
    ("sgdm damped", "bfloat16"): "89e76a0a02f63b95",
    ("nesterov", "bfloat16"): "23209426ac65e7ca",
    ("rmsprop", "bfloat16"): "fb6295389b377baf",
    ("rmsprop centered", "bfloat16"): "f38f5cf235a5a846",
    ("rmsprop momentum", "bfloat16"): "c0a5df0aaf6e5e3b",
    ("adam", "bfloat16"): "afb99b3040a25e50",
    ("amsgrad", "bfloat16"): "8a6a3eac1bd7ec3a",
    ("adam decoupled", "bfloat16"): "df1f9f68c8c96069",
    ("adamw", "bfloat16"): "df1f9f68c8c96069",
    ("adamw amsgrad up", "bfloat16"): "36b8002df282ee51",
    ("radam", "bfloat16"): "96cbef026857f310",
    ("radam decoupled", "bfloat16"): "4a084fc34174f990",
    ("sgd", "float16"): "d4d2472d3f6b7195",
    ("sgdm", "float16"): "b19edd20f597e08a",
    ("sgdm damped", "float16"): "7db29345476297d1",
    ("nesterov", "float16"): "82d68940228a2669",
    ("rmsprop", "float16"): "702941327e654c6c",
    ("rmsprop centered", "float16"): "9ff3f0f817a92bf5",
    ("rmsprop momentum", "float16"): "439cb266f64ca484",
    ("adam", "float16"): "552303c28f1b32ee",
    ("amsgrad", "float16"): "001e69951f6c0474",
    ("adam decoupled", "float16"): "edb6a8d7ec6f76b5",
    ("adamw", "float16"): "edb6a8d7ec6f76b5",
    ("adamw amsgrad up", "float16"): "7f60a9c3ecaf5060",
    ("radam", "float16"): "e4da2892bd253ec4",
    ("radam decoupled", "float16"): "5f7320e4a7976ade",
}


def numbers(count, shift, dtype):
    """Fractions between -1 and 1 that every processor makes alike."""
    return (
        ((torch.arange(count) * 7919 + shift * 131) % 2003 - 1001)
        .to(torch.float64)
        .div(1024)
        .to(dtype)
    )


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(("case", "dtype"), GOLDEN)
def test_bits_of_the_weights_are_those_of_the_first_release(case, dtype, compile):
    cls, hyper = CASES[case]
    assert digest(cls, hyper, getattr(torch, dtype), compile) == GOLDEN[case, dtype]


def digest(cls, hyper, dtype, compile):
    params = [nn.Parameter(numbers(count, 0, dtype)) for count in (70_001, 300)]
    optimizer = cls(params, **hyper, seed=3, keep_prob=0.7, compile=compile)
    for number in range(6):
        for param in params:
            param.grad = numbers(param.numel(), 1 + number, dtype)
        optimizer.step()
    flat = torch.cat([param.detach() for param in params])
    return hashlib.sha256(flat.view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def test_numbers_that_change_need_no_other_kernel():
    sides = pair(lrd.Adam, {}, SIZES)
    step(sides, 0)
    kernels = build.kernel.cache_info().misses
    for number, (rate, p) in enumerate([(0.1, 0.5), (0.01, 0.9), (0.02, 0.1), (1.0, 1.0)]):
        for _, optimizer in sides:
            optimizer.param_groups[0].update(lr=rate, keep_prob=p, weight_decay=rate)
        step(sides, number + 1)
    others = pair(lrd.Adam, {}, [(77, 3), (5,)])
    step(others, 0)
    assert build.kernel.cache_info().misses == kernels
    assert_equal(sides)
    assert_equal(others)


def test_gradients_that_come_and_go_keep_each_parameters_own_count():
    sides = pair(lrd.Adam, {}, [(300,), (400,), (500,)])
    for number in range(6):
        for params, optimizer in sides:
            torch.manual_seed(number)
            for place, param in enumerate(params):
                gradient = torch.randn(param.shape)
                param.grad = gradient if (number + place) % 3 else None
            optimizer.step()
    assert_equal(sides)
    steps = [[int(o.state[p]["step"]) for p in params] for params, o in sides]
    assert steps[0] == steps[1] == [4, 4, 4]


def test_state_that_is_changed_by_hand_is_used():
    sides = pair(lrd.Adam, {}, [(300,)])
    step(sides, 0)
    for params, optimizer in sides:
        optimizer.state[params[0]]["step"].fill_(40)
        optimizer.state[params[0]]["exp_avg"] = torch.ones(300)
    step(sides, 1)
    assert_equal(sides)


def test_state_and_gradients_of_another_dtype_are_converted():
    sides = pair(lrd.Adam, {}, [(300,)])
    for params, optimizer in sides:
        params[0].grad_dtype = None  # lets a gradient have a dtype of its own
        params[0].grad = torch.ones(300, dtype=torch.bfloat16)
        optimizer.step()
        optimizer.state[params[0]]["exp_avg"] = torch.ones(300, dtype=torch.float64)
        optimizer.step()
    assert_equal(sides)


def test_a_learning_rate_tensor_and_its_changes_are_seen():
    rates = [torch.tensor(0.1), torch.tensor(0.1)]
    sides = pair(lrd.Adam, {}, [(300,)])
    for (_, optimizer), rate in zip(sides, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
    step(sides, 0)
    for rate in rates:
        rate.fill_(0.5)
    step(sides, 1)
    assert_equal(sides)


def layouts(values):
    """Tensors of these values whose elements lie otherwise in memory."""
    wide = torch.zeros(*values.shape[:-1], 2 * values.shape[-1])
    return {
        "channels last": values.clone().to(memory_format=torch.channels_last),
        "transposed": values.clone().permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0),
        "with gaps": wide[..., ::2].copy_(values),
        "from the middle": torch.cat([values, values])[len(values) :],
    }


@pytest.mark.parametrize("name", layouts(torch.zeros(1, 1, 1, 1)))
def test_the_mask_goes_by_the_elements_index_not_by_its_place_in_memory(name):
    torch.manual_seed(0)
    values, gradient = torch.randn(40, 3, 15, 15), torch.randn(40, 3, 15, 15)
    weights = []
    for start, compile in ((values.clone(), False), (layouts(values)[name], True)):
        param = nn.Parameter(start)
        assert param.stride() == start.stride()
        optimizer = lrd.Adam([param], compile=compile)
        for _ in range(3):
            param.grad = gradient
            optimizer.step()
        weights.append(param.detach().contiguous())
    assert torch.equal(*weights)


def test_what_a_kernel_cannot_walk_is_known():
    assert spans((4, 5), (5, 1)) == spans((20,), (1,))
    assert spans((4, 5), (10, 1)) is None  # gaps
    assert spans((4, 5), (0, 1)) is None  # elements that share memory
    assert spans((2, 3, 2**29), (3 * 2**29, 1, 3)) is None  # more than a block, out of order
    assert len(spans((3, 2**29), (2**29, 1))) == 2


def test_bits_do_not_depend_on_threads():
    weights = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        params = [nn.Parameter(numbers(count, 0, torch.float32)) for count in (300_001, 70_000)]
        for param in params:
            param.grad = numbers(param.numel(), 1, torch.float32)
        lrd.Adam(params, compile=True).step()
        weights.append(torch.cat([param.detach() for param in params]))
    torch.set_num_threads(1)
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


def test_works_inside_a_compiled_training_step():
    def trained(wrap):
        model = net()
        optimizer = lrd.Adam(model.parameters(), compile=True)

        def training_step(images):
            optimizer.zero_grad()
            (model(images) ** 2).mean().backward()
            optimizer.step()

        training_step = wrap(training_step)
        for number in range(5):
            training_step(torch.full((4, 20), float(number)))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    torch.testing.assert_close(trained(torch.compile), trained(lambda f: f), rtol=1e-4, atol=1e-6)


def python(code, **environment):
    """What a program prints, and what it warns of, in a process with this environment."""
    words = {key: str(value) for key, value in environment.items()}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **words},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@functools.cache
def undisturbed():
    return python(TWO_STEPS)[0]


TWO_STEPS = """
import torch, lrd
for wrap in (lrd.Adam, lambda params: lrd.LearningRateDropout(torch.optim.Adam(params))):
    W = torch.nn.Parameter(torch.zeros(300_000))
    optimizer = wrap([W])
    for _ in range(2):
        W.grad = torch.ones(300_000)
        optimizer.step()
    print(int((W != 0).sum()))
"""


@pytest.mark.parametrize(
    "name",
    ["TORCHDYNAMO_DISABLE", pytest.param("TORCH_COMPILE_DISABLE", marks=pytest.mark.slow)],
)
def test_torchs_switches_of_its_compiler_change_nothing(name):
    printed, warned = python(TWO_STEPS, **{name: 1})
    assert printed == undisturbed()
    assert "eager" not in warned


@pytest.mark.parametrize(
    ("environment", "cause"),
    [
        (dict(PATH="", CC=""), "none of the compilers cc, gcc, clang is on the PATH"),
        pytest.param(
            dict(CC="no-such-compiler"), "no-such-compiler does not start", marks=pytest.mark.slow
        ),
        pytest.param(dict(CC="false"), "false ended with 1", marks=pytest.mark.slow),
    ],
)
def test_without_a_compiler_auto_goes_on_eagerly_and_says_so(tmp_path, environment, cause):
    printed, warned = python(TWO_STEPS, XDG_CACHE_HOME=tmp_path, **environment)
    assert printed == undisturbed()
    assert warned.count("lrd's kernel cannot be built") == 2  # one for each optimizer
    assert cause in warned
    assert "apt install gcc" in warned


def test_without_a_compiler_compile_true_is_an_error_before_anything_moves(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.kernel.cache_clear()
    rule_kernel.cache_clear()
    assert not kernel_available() or build.kernel.cache_info().currsize
    W = nn.Parameter(torch.ones(50))
    optimizer = lrd.RMSprop([W], compile=True)
    W.grad = torch.ones(50)
    with pytest.raises(lrd.CompilationError, match="no-such-compiler does not start"):
        optimizer.step()
    assert (W == 1).all()
    assert optimizer.state[W]["step"] == 0
    rule_kernel.cache_clear()


def test_another_device_is_eager_unless_a_kernel_is_asked_for():
    for compile in (True, "auto"):
        W = nn.Parameter(torch.ones(50, device="meta"))
        W.grad = torch.ones(50, device="meta")
        optimizer = lrd.Adam([W], compile=compile)
        if compile is True:
            with pytest.raises(lrd.CompilationError, match="there is none for meta yet"):
                optimizer.step()
        else:
            optimizer.step()
            assert optimizer.state[W]["step"] == 1
    assert not kernel_available("cuda")


@pytest.mark.slow
def test_a_kernel_is_built_once_by_however_many_processes(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(lambda _: python(TWO_STEPS, XDG_CACHE_HOME=tmp_path), range(2)))
    assert len({printed for printed, _ in outputs}) == 1
    files = list((tmp_path / "lrd").iterdir())
    assert len(files) == 3  # Adam, and the wrapper's copy and put-back
    times = [path.stat().st_mtime_ns for path in sorted(files)]
    python(TWO_STEPS, XDG_CACHE_HOME=tmp_path)
    assert [path.stat().st_mtime_ns for path in sorted(files)] == times


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    printed, warned = python(TWO_STEPS, XDG_CACHE_HOME=tmp_path / "file")
    assert printed == undisturbed()
    assert "eager" not in warned


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_training_step_runs_on_one_openmp():
    runtimes = """
import pathlib, re
maps = pathlib.Path("/proc/self/maps").read_text()
print(len(set(re.findall(r"/\\S*lib(?:gomp|omp|iomp5)\\S*\\.so\\S*", maps))))
"""
    printed, _ = python(f"import torch; torch.set_num_threads(2)\n{TWO_STEPS}\n{runtimes}")
    assert printed.split()[-1] == "1"


def test_gradients_in_another_layout_than_their_parameters_are_read_by_their_elements():
    sides = pair(lrd.Adam, {}, [(2, 4096)])
    gradient = torch.randn(4096, 2).t()
    for params, optimizer in sides:
        params[0].grad = gradient
        optimizer.step()
    assert_equal(sides)


def test_another_seed_and_moved_state_are_seen():
    sides = pair(lrd.Adam, {}, [(64,)])
    for number in range(4):
        if number == 2:
            for (W,), optimizer in sides:
                optimizer.param_groups[0]["seed"] = 2**40
                optimizer.state[W]["exp_avg"].data = torch.full((64,), 5.0)
        step(sides, number)
    assert_equal(sides)


def test_groups_of_other_rules_and_dtypes_are_each_updated_by_their_own():
    sides = []
    for compile in (False, True):
        torch.manual_seed(0)
        groups = [
            {"params": [nn.Parameter(torch.randn(4000)), nn.Parameter(torch.randn(7).half())]},
            {"params": [nn.Parameter(torch.randn(50_000))], "momentum": 0.0, "lr": 0.5},
            {"params": [nn.Parameter(torch.randn(300))], "weight_decay": 0.1, "keep_prob": 1.0},
        ]
        optimizer = lrd.SGD(groups, lr=0.1, momentum=0.9, compile=compile)
        sides.append(([param for group in groups for param in group["params"]], optimizer))
    for number in range(3):
        step(sides, number)
    assert_equal(sides)


@pytest.mark.parametrize("compile", [False, True])
def test_a_sparse_gradient_is_refused_before_anything_moves(compile):
    params = [nn.Parameter(torch.ones(300)), nn.Parameter(torch.ones(300))]
    optimizer = lrd.Adam(params, compile=compile)
    for param in params:
        param.grad = torch.ones(300)
    optimizer.step()
    before = [param.detach().clone() for param in params]
    params[1].grad = torch.ones(300).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(params, before, strict=True))
    assert all(int(optimizer.state[param]["step"]) == 1 for param in params)
