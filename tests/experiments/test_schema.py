"""Every field of run.json and config.yaml with values of every kind: refused, or without effect."""

import json
import math
import random
import re

import pytest
import yaml

from experiments.record.reader import RecordError, read_runs
from experiments.record.schema import check_config, check_info
from helpers.commands import ROOT
from helpers.synthetic import sign
from scripts.tables.__main__ import make_table

nested = current = []
for _ in range(500):
    current.append([])
    current = current[0]
VALUES = [
    None, True, -1, 0, 1.5, 10**30, math.nan, math.inf, -math.inf, "", "text", "../../x", "1",
    "x" * 5000, [], [1], {}, {"name": 3}, nested, "missing",
]  # fmt: skip


def keys(content, prefix=()):
    for key, value in content.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from keys(value, (*prefix, key))


def changed(content, key, value):
    content = json.loads(json.dumps(content))
    node = content
    for name in key[:-1]:
        node = node[name]
    if value == "missing":
        del node[key[-1]]
    else:
        node[key[-1]] = value
    return content


def save(folder, info, config):
    """With the digest of what is written, as if a run had left it."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "run.json").write_text(json.dumps(info))
    sign(folder)


def numbers(runs, out):
    """The cells of a table that hold a run's number."""
    text = make_table("table1", runs, out, "smoke", "digits")
    return set(re.findall(r"[\d.]+ \(1\)", text))


@pytest.mark.fault
@pytest.mark.timeout(600)
def test_any_value_in_any_field(make, finished, tmp_path):
    """Over 1,000 cases: a table is made of the run as it is written, or without it."""
    make("lrd.enabled=true")
    info = json.loads((finished / "run.json").read_text())
    config = yaml.safe_load((finished / "config.yaml").read_text())
    names, cases, left_out = ("run.json", "config.yaml"), 0, 0
    whole = numbers(tmp_path, tmp_path / "out")
    assert len(whole) == 4  # accuracies and losses
    for name, content in zip(names, (info, config), strict=True):
        for key in keys(content):
            for value in random.Random(str(key)).sample(VALUES, len(VALUES)):
                if key == ("digest",) or (name == "config.yaml" and value is nested):
                    continue
                new = changed(content, key, value)
                save(finished, *((new, config) if name == "run.json" else (info, new)))
                runs = read_runs(tmp_path, scale="smoke")
                assert len(runs.runs) + len(runs.left_out) == 2
                assert all(20 < len(run.reason) < 2000 for run in runs.left_out)
                assert numbers(tmp_path, tmp_path / "out") <= whole
                cases, left_out = cases + 1, left_out + len(runs.left_out)
    assert cases > 1000
    assert left_out > cases / 2
    print(f"{cases} cases, {left_out} left out")


READ = re.compile(r"\.(config|info)((?:\[[\"'][a-z_]+[\"']\])+)")


def test_what_scripts_read_of_a_run_is_required(finished):
    """Of its configuration and of run.json, by name; the benchmark reads runs of its own."""
    info = json.loads((finished / "run.json").read_text())
    config = yaml.safe_load((finished / "config.yaml").read_text())
    paths = [path for path in (ROOT / "scripts").rglob("*.py") if "benchmark" not in path.parts]
    reads = {read for path in paths for read in READ.findall(path.read_text())}
    reads -= {("config", '["model"]["side"]'), ("config", "['model']['side']")}  # the toy's
    reads -= {("config", '["data"]["steps"]')}
    assert len(reads) > 15
    for name, keys in reads:
        key = tuple(re.findall("[a-z_]+", keys))
        content, check = (config, check_config) if name == "config" else (info, check_info)
        check(content)
        with pytest.raises(ValueError, match=rf"{re.escape('.'.join(key))} is missing"):
            check(changed(content, key, "missing"))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("run.json", "[" * 100_000, "run.json is damaged"),
        ("run.json", '{"a":' * 900 + "1" + "}" * 900, "20 groups deep"),
        ("config.yaml", "a: " + "[" * 200_000, "at most 10000 letters"),
        ("config.yaml", "a: " + "[" * 4000 + "]" * 4000, "20 groups deep"),
        ("config.yaml", "a: &a [*a]\n", "20 groups deep"),
        (
            "config.yaml",
            "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
            "at most 10000 values",
        ),
        ("config.yaml", "seed: 2020-01-01\n", "experiment is missing"),
        ("config.yaml", "- 1\n", "a group of named values"),
        ("config.yaml", "1: 2\n", "a group of named values"),
    ],
)
def test_files_that_no_run_writes_are_left_out_by_name(finished, tmp_path, name, text, reason):
    (finished / name).write_text(text)
    (left_out,) = read_runs(tmp_path, scale="smoke").left_out
    assert left_out.folder == finished
    assert name in left_out.reason
    assert reason in left_out.reason


@pytest.mark.parametrize("column", ["epoch", "lr", "test_accuracy"])
@pytest.mark.parametrize("value", ["text", "True", "nan", "-inf", "", "1e999", "-1", "1+2j"])
def test_columns_hold_numbers(finished, tmp_path, column, value):
    lines = [line.split(",") for line in (finished / "metrics.csv").read_text().splitlines()]
    for line in lines[1:]:
        line[lines[0].index(column)] = value
    (finished / "metrics.csv").write_text("\n".join(map(",".join, lines)) + "\n")
    sign(finished)
    runs = read_runs(tmp_path, scale="smoke")
    assert not runs.runs
    assert "metrics.csv" in runs.left_out[0].reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "timing.csv"),
        ("epoch,second\n1,2\n2,2\n", "columns epoch, seconds, it has epoch, second"),
        ("epoch,seconds\n1,2\n", "the epochs of metrics.csv, it has 1 rows"),
        ("epoch,seconds\n1,2\n2,text\n", "what is not a number"),
        ("epoch,seconds\n1,2\n2,-1\n", "finite, not negative"),
        ("epoch,seconds\n1,2\n2,inf\n", "finite, not negative"),
    ],
)
def test_timing_is_checked(finished, tmp_path, text, reason):
    (finished / "timing.csv").write_text(text)
    sign(finished)
    (left_out,) = read_runs(tmp_path, scale="smoke").left_out
    assert reason in left_out.reason


@pytest.mark.parametrize("text", [None, "start,step,x,y\n", "start,step,x,y,f\n0,0,a,1,1\n"])
def test_the_toys_paths_are_checked(make, tmp_path, text):
    _, folder = make("experiment=toy")
    path = folder / "paths.csv"
    path.unlink() if text is None else path.write_text(text)
    sign(folder)
    (left_out,) = read_runs(tmp_path, scale="smoke").left_out
    assert "paths.csv" in left_out.reason


@pytest.mark.parametrize("name", ["seed00", "seed007", "seed" + "9" * 30])
def test_a_seed_has_one_name(finished, tmp_path, name):
    finished.rename(finished.with_name(name))
    (left_out,) = read_runs(tmp_path, scale="smoke").left_out
    assert left_out.reason == f"{name} is no seed's name, as seed0 is"


def test_all_committed_runs_are_whole():
    root = ROOT / "results" / "runs"
    for scale in ("paper", "mid", "lite"):
        runs, left_out = read_runs(root, scale=scale)
        assert (len(runs), left_out) == (len(list(root.glob(f"{scale}/*/*/*/run.json"))), [])


@pytest.mark.parametrize("edit", ["edited", "deleted"])
@pytest.mark.parametrize("name", ["metrics.csv", "timing.csv", "config.yaml"])
def test_a_finished_run_that_was_changed_is_not_done_and_is_left_alone(make, finished, name, edit):
    path = finished / name
    path.write_text(path.read_text() + "\n") if edit == "edited" else path.unlink()
    before = {file.name: file.read_bytes() for file in finished.iterdir()}
    with pytest.raises(RecordError, match=r"is not as (its|the) run left it|is damaged"):
        make()
    assert {file.name: file.read_bytes() for file in finished.iterdir()} == before


@pytest.mark.parametrize("status", ["done", "failed"])
def test_another_hash_is_never_told_without_a_difference(make, finished, status):
    info = json.loads((finished / "run.json").read_text())
    info |= {"hash": "0" * 16, "status": status}
    save(finished, info, yaml.safe_load((finished / "config.yaml").read_text()))
    with pytest.raises(RecordError, match=r"config.yaml is not the one that run.json was written"):
        make()
