"""Tables in LaTeX."""

import shutil
import subprocess

import pytest

from helpers.synthetic import DATA, make_run
from scripts.tables import __main__ as tables


def test_latex_is_escaped_and_every_row_has_all_columns(runs, tmp_path):
    data = DATA | {"name": r"50%_of {A&B} #1 ~$x^2\<"}
    make_run(runs, "adam", 0, [98.0], source=data)
    make_run(runs, "adam", 1, [97.0], source=data)
    tables.make_table("table1", runs, tmp_path, "paper", None)
    text = (tmp_path / "paper/table1.tex").read_text()
    escaped = r"50\%\_of \{A\&B\} \#1 \textasciitilde{}\$x\textasciicircum{}2"
    assert escaped + r"\textbackslash{}\textless{}" in text
    assert r"97.50$\pm$0.71 (2)" in text
    assert text.isascii()
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 3, 1]
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [line.replace(r"\&", "").count("&") for line in lines] == [6] + [0] + [6] * 8 + (
        [0] + [6] * 4
    ) * 2


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_latex_compiles_and_fits_the_page(runs, tmp_path):
    for seed in range(3):
        for optimizer in ("sgdm", "rmsprop", "adam", "amsgrad", "radam", "adamw"):
            make_run(runs, optimizer, seed, [97.0 + seed] * 10)
    make_run(runs, "adam", 3, [97.0], epochs=10, status="diverged")
    tables.make_table("table1", runs, tmp_path, "paper", None)
    table = (tmp_path / "paper/table1.tex").read_text()
    preamble = "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (tmp_path / "page.tex").write_text(preamble + table + "\\end{document}\n")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout
