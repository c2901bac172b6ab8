"""lrd's tests on the oldest torch that it takes, one between, and the newest: make test-versions.

Each in an environment of its own under the folder that is given, with what these tests need and
nothing else of the suite. About 5 GB each; what is installed stays.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = {"python3.11": "torch==2.6.0", "python3.12": "torch==2.11.0", "python3.13": "torch"}
# Triton 3.6's interpreter takes arrays of one element for numbers, as NumPy does below 2.5
NEEDS = ["numpy<2.5", "hydra-core", "pytest>=9", "pytest-timeout", "setuptools"]
# runs of the suite, and libraries that bring a torch of their own choice
LEFT_OUT = [
    "--ignore=tests/lrd/test_precision.py",
    "--deselect=tests/lrd/test_readme.py::test_the_snippet_of_a_library_trains",
]


def tested(python: str, torch: str, folder: Path) -> bool:
    """Whether lrd's tests pass with this Python and this torch."""
    environment = folder / f"{python}-{torch}"
    of_it = environment / "bin" / "python"
    pip = [of_it, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pytest = [of_it, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "tests/lrd"]
    commands = [
        [python, "-m", "venv", environment],
        [*pip, "install", torch, *NEEDS],
        [
            of_it,
            "-c",
            "import sys, torch; print('Python', sys.version, 'torch', torch.__version__)",
        ],
        [*pytest, "--confcutdir=tests/lrd", *LEFT_OUT],
    ]
    try:
        return all(subprocess.run(command, cwd=ROOT).returncode == 0 for command in commands)
    except FileNotFoundError as error:
        print(f"{error.filename} is missing: install it, or leave {torch} out", file=sys.stderr)
        return False


def main(folder: str, *wanted: str) -> int:
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    results = {
        f"{python} with {torch}": tested(python, torch, Path(folder).absolute())
        for python, torch in VERSIONS.items()
        if not wanted or python in wanted
    }
    for name, passed in results.items():
        print(f"{name}: {'passed' if passed else 'FAILED'}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
