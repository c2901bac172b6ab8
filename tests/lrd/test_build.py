"""How a kernel is built, kept and loaded, and what happens where it cannot be."""

import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import lrd
from helpers.commands import python
from lrd.kernels import build, copy_kernel, kernel_available, rule_kernel


def said(code, **environment):
    """What a program prints, and what it warns of, in a process with this environment."""
    done = python("-c", code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


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


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A cache that holds the kernels of two steps, and what these print."""
    folder = tmp_path_factory.mktemp("cache")
    printed, _ = said(TWO_STEPS, XDG_CACHE_HOME=folder)
    (folder / "lrd").chmod(0o700)
    return folder, printed


@pytest.fixture
def undisturbed(built):
    return built[1]


@pytest.fixture
def cache(built, tmp_path):
    """A copy with its modes, which a test may damage."""
    return shutil.copytree(built[0], tmp_path / "cache")


@pytest.mark.parametrize(
    "name",
    ["TORCHDYNAMO_DISABLE", pytest.param("TORCH_COMPILE_DISABLE", marks=pytest.mark.slow)],
)
def test_torchs_switches_of_its_compiler_change_nothing(undisturbed, name):
    printed, warned = said(TWO_STEPS, **{name: 1})
    assert printed == undisturbed
    assert "eager" not in warned


@pytest.mark.parametrize(
    ("environment", "cause"),
    [
        (dict(PATH="", CC=""), "none of the compilers cc, gcc, clang is on the PATH"),
        pytest.param(
            dict(CC="no-such-compiler"), "no-such-compiler does not start", marks=pytest.mark.slow
        ),
        pytest.param(dict(CC="false"), "false ended with 1 (no message)", marks=pytest.mark.slow),
        pytest.param(
            dict(CC="sh -c 'echo Fehler: hier >&2; false'"),
            "sh ended with 1 (Fehler: hier)",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_without_a_compiler_auto_goes_on_eagerly_and_says_so(
    undisturbed, tmp_path, environment, cause
):
    printed, warned = said(TWO_STEPS, XDG_CACHE_HOME=tmp_path, **environment)
    assert printed == undisturbed
    told = warned.count("lrd's kernel cannot be built")
    assert told in (1, 2)  # for each optimizer, unless Python has shown it of the same line
    assert warned.count("<string>:8: UserWarning") == told  # which is the caller's
    assert cause in warned
    assert "apt install gcc" in warned


def test_without_a_compiler_compile_true_is_an_error_before_anything_moves(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for cached in (build.kernel, rule_kernel, copy_kernel):
        cached.cache_clear()
    assert not kernel_available()
    W = nn.Parameter(torch.ones(50))
    optimizer = lrd.RMSprop([W], compile=True)
    W.grad = torch.ones(50)
    with pytest.raises(lrd.CompilationError, match="no-such-compiler does not start") as error:
        optimizer.step()
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    assert (W == 1).all()
    assert optimizer.state[W]["step"] == 0


def test_another_device_is_eager_unless_a_kernel_is_asked_for():
    for compile in (True, "auto"):
        W = nn.Parameter(torch.ones(50, device="meta"))
        W.grad = torch.ones(50, device="meta")
        optimizer = lrd.Adam([W], compile=compile)
        if compile is True:
            with pytest.raises(lrd.CompilationError, match="there is none for meta"):
                optimizer.step()
        else:
            optimizer.step()
            assert optimizer.state[W]["step"] == 1
    assert not kernel_available("cuda")


@pytest.mark.slow
def test_a_kernel_is_built_once_by_however_many_processes(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(lambda _: said(TWO_STEPS, XDG_CACHE_HOME=tmp_path), range(2)))
    assert len({printed for printed, _ in outputs}) == 1
    files = list((tmp_path / "lrd").iterdir())
    assert len(files) == 3  # Adam, and the wrapper's copy and put-back
    times = [path.stat().st_mtime_ns for path in sorted(files)]
    said(TWO_STEPS, XDG_CACHE_HOME=tmp_path)
    assert [path.stat().st_mtime_ns for path in sorted(files)] == times


def test_a_cache_that_cannot_be_written_is_done_without(undisturbed, tmp_path):
    (tmp_path / "file").write_text("")
    printed, warned = said(TWO_STEPS, XDG_CACHE_HOME=tmp_path / "file")
    assert printed == undisturbed
    assert "eager" not in warned


PLANTED = 'void step(void) { __builtin_printf("planted\\n"); __builtin_exit(3); }'


def plant(library):
    """Another library in the place of one."""
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=PLANTED, text=True, check=True)


def cut(library):
    library.write_bytes(library.read_bytes()[:2000])


@pytest.mark.parametrize("damage", [plant, cut])
def test_a_library_that_is_not_what_was_built_is_built_again(cache, undisturbed, damage):
    for library in (cache / "lrd").iterdir():
        damage(library)
    assert said(TWO_STEPS, XDG_CACHE_HOME=cache)[0] == undisturbed


@pytest.mark.parametrize("place", ["folder", "library"])
def test_what_others_can_write_to_is_not_loaded(cache, undisturbed, place):
    """With a right digest in its name, as somebody who means harm would give it."""
    for library in list((cache / "lrd").iterdir()):
        plant(library)
        library.chmod(0o777 if place == "library" else 0o700)
        named = f"{library.stem.rpartition('-')[0]}-{build._digest(library)}.so"
        library.rename(library.with_name(named))
    (cache / "lrd").chmod(0o777 if place == "folder" else 0o700)
    printed, warned = said(TWO_STEPS, XDG_CACHE_HOME=cache)
    assert printed == undisturbed
    assert "eager" not in warned


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_training_step_runs_on_one_openmp():
    runtimes = """
import pathlib, re
maps = pathlib.Path("/proc/self/maps").read_text()
print(len(set(re.findall(r"/\\S*lib(?:gomp|omp|iomp5)\\S*\\.so\\S*", maps))))
"""
    printed, _ = said(f"import torch; torch.set_num_threads(2)\n{TWO_STEPS}\n{runtimes}")
    assert printed.split()[-1] == "1"
