"""The words of the command line: their order, their quotes, and what a sweep's jobs come to."""

import json
import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments import outcomes, words
from experiments.outcomes import Outcome, summary
from helpers.commands import CONF


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("experiment=digits -m seed=0,1", "experiment=digits seed=0,1 -m"),
        ("-m a=1 b=2", "a=1 b=2 -m"),
        ("a=1 --multirun", "a=1 --multirun"),
        ("--config-dir here a=1", "--config-dir here a=1"),
        ("", ""),
    ],
)
def test_words_may_stand_on_both_sides_of_m(given, expected):
    assert words.ordered(given.split()) == expected.split()


VALUES = [
    "~/x", "results/adam+lr=0.01/seed0", "/data/étude", "/données/a=b", "a b=c", "/it's=mine",
    '/say="x"', "/a,b=c", "{x", "/a(b", "/cost=$5", "/数据",
]  # fmt: skip


@pytest.mark.parametrize("key", ["runs_dir", "data.root", "+model.weights_file"])
@pytest.mark.parametrize("value", VALUES)
def test_the_quotes_that_are_told_give_the_value(key, value):
    """To a shell, and then to Hydra."""
    text = words.quoting(["seed=0", f"{key}={value}"])
    assert text.startswith(f"{key}={value}: Hydra takes")
    (word,) = shlex.split(text.partition(" Write ")[2])
    assert OverridesParser.create().parse_override(word).value() == value


@pytest.mark.parametrize(
    "word",
    ["seed=0,1", "lrd.p=0.5", "runs_dir=/a/x", "+schedule.at=[0.5]", "~data", "-m", "--cfg=job",
     "data.root='~/x'", "experiment=", "/a=b/c"],
)  # fmt: skip
def test_words_that_hydra_parses_or_no_quotes_help_are_left_to_it(word):
    assert words.quoting([word]) == ""


@pytest.mark.parametrize(
    ("word", "jobs"),
    [("seed=0,1", ["seed=0", "seed=1"]), ("arm=glob(lrd_t*)", ["arm=lrd_tensor"])],
)
def test_a_sweeps_jobs_are_known_before_they_begin(tmp_path, monkeypatch, word, jobs):
    path = tmp_path / "jobs"
    monkeypatch.setenv("LRD_OUTCOMES", str(path))
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("config", return_hydra_config=True)
        config.hydra.overrides.task = [word, "scale=smoke"]
        outcomes.Announcement().on_multirun_start(config)
    noted = [json.loads(line)[:2] for line in path.read_text().splitlines()]
    assert noted == [[f"{job} scale=smoke", "not begun"] for job in jobs]


def test_a_summary_names_what_was_interrupted_and_what_had_not_begun():
    jobs = [Outcome("a", "missing", ""), Outcome("b", "not begun", ""), Outcome("c", "busy", "x")]
    assert summary(jobs, interrupted=True).splitlines() == [
        "1 busy, 1 interrupted, 1 not begun", "interrupted: a", "not begun: b", "busy: c: x"
    ]  # fmt: skip
    assert summary(jobs).startswith("1 busy, 1 missing, 1 not begun\nmissing: a")
    assert outcomes.failures(jobs) == 3
