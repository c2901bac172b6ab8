"""The package: what is in its wheel, what it needs, and that all pins and versions agree."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lrd

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Each room with the rooms that it may import.
ROOMS = {
    "lrd": set(),
    "models": set(),
    "data": set(),
    "experiments": {"lrd", "models", "data"},
    "scripts": {"lrd", "models", "data", "experiments"},
}
STEP = """
import importlib.util, sys
import torch, lrd
from pathlib import Path

absent = sys.argv[1:]
found = [name for name in absent if importlib.util.find_spec(name)]
assert not found, f"the environment is not bare: {found}"
assert Path(lrd.__file__).is_relative_to(sys.prefix), lrd.__file__
assert Path(lrd.__file__).with_name("py.typed").is_file()
param = torch.nn.Parameter(torch.ones(1000))
param.grad = torch.ones(1000)
lrd.Adam([param], lr=0.1, compile=False).step()
moved = int((param != 1).sum())
assert 400 < moved < 600, moved
"""


def required(*texts: str) -> dict[str, importlib.metadata.Distribution]:
    """The installed distributions that requirements need here, recursively, by name."""
    found, seen = {}, set()
    todo = [Requirement(text) for text in texts]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if (name, *sorted(wanted.extras)) in seen:
            continue
        seen.add((name, *sorted(wanted.extras)))
        found[name] = importlib.metadata.distribution(name)
        for text in found[name].requires or []:
            needed = Requirement(text)
            marker = needed.marker
            if not marker or any(marker.evaluate({"extra": e}) for e in ("", *wanted.extras)):
                todo.append(needed)
    return found


def pins() -> dict[str, str]:
    """Name and version of each line of requirements.lock that holds on this machine."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    found = {}
    for line in lines:
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        (specifier,) = pin.specifier
        assert specifier.operator == "==", f"not pinned: {line}"
        if pin.marker is None or pin.marker.evaluate():
            found[canonicalize_name(pin.name)] = specifier.version
    return found


def imports(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively: name the room"
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy that holds all rooms, so that the build could take in too much."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for room in (*ROOMS, "conf", "tests"):
        shutil.copytree(
            ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__", "raw")
        )
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", "-q", *options, "-w", out, source]
    subprocess.run(command, check=True, timeout=120)
    (built,) = out.iterdir()
    return built


def test_wheel_holds_the_method_alone(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"lrd", f"lrd-{lrd.__version__}.dist-info"}
    shipped = {name for name in names if name.startswith("lrd/")}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lrd").rglob("*.py")}
    assert shipped == modules | {"lrd/README.md", "lrd/kernels/step.c", "lrd/py.typed"}


def test_wheel_needs_torch_alone(wheel):
    with zipfile.ZipFile(wheel) as file:
        metadata = file.read(f"lrd-{lrd.__version__}.dist-info/METADATA").decode()
    needs = [Requirement(text) for text in re.findall(r"^Requires-Dist: (.+)$", metadata, re.M)]
    always = [need for need in needs if need.marker is None or "extra" not in str(need.marker)]
    assert [need.name for need in always] == ["torch"]
    assert {clause.operator for clause in always[0].specifier} == {">=", "<"}


@pytest.mark.slow
def test_wheel_works_beside_torch_alone(wheel, tmp_path):
    """A fresh environment: the wheel, and links to what torch itself requires."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    for distribution in required("torch").values():
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    install = ["install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run([*pip, *install], check=True, timeout=120)
    absent = ["models", "data", "experiments", "scripts", "hydra", "torchvision", "pandas", "wandb"]
    done = subprocess.run(
        [python, "-I", "-c", STEP, *absent], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_all_files_name_one_version():
    changelog = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert changelog[1] == citation["version"] == lrd.__version__


def test_the_environment_is_the_pinned_one():
    installed = {name: importlib.metadata.version(name) for name in pins()}
    assert installed == pins()


def test_every_package_that_is_needed_is_pinned():
    needed = required(*PROJECT["dependencies"], *EXTRAS["suite"], *EXTRAS["test"])
    assert set(needed) - set(pins()) == set()


def test_conda_gets_the_same_pins():
    needs = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert "python=3.11" in needs
    assert needs[-1] == {"pip": ["-r requirements.lock"]}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_downwards_and_only_what_is_declared(room):
    texts = PROJECT["dependencies"] + ([] if room == "lrd" else EXTRAS["suite"])
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    declared.add("triton")  # torch's builds for GPUs bring it; without, the step there is eager
    packages = importlib.metadata.packages_distributions()
    for path in (ROOT / room).rglob("*.py"):
        used = imports(path) - {room}
        assert used & set(ROOMS) <= ROOMS[room], f"{path} imports upwards"
        for name in used - set(ROOMS):
            distributions = {canonicalize_name(owner) for owner in packages.get(name, [])}
            if path.name == "gpu.py":  # torch brings Triton where there is a GPU
                declared |= {"triton"}
            assert distributions & declared, f"{path} imports {name}, which is not declared"


SOURCES = [path for room in (*ROOMS, "tests") for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_have_at_most_300_lines_and_functions_50(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and "tests" not in path.parts:
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            begin = first.end_lineno if documented else node.lineno
            assert node.end_lineno - begin <= 50, node.name
