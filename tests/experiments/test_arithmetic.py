"""What `precision`, `deterministic` and `device` mean, and what a record says of them."""

import json
import os

import pytest
import torch

from experiments import precision, processes
from experiments.configuration import ConfigError
from experiments.identity import config_hash
from experiments.loop import channels_last
from experiments.record import machine, writer
from experiments.record.checkpoint import CheckpointError, Checkpoints
from experiments.validate import check, resolve
from helpers.commands import configure


@pytest.mark.parametrize(("name", "single"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
@pytest.mark.parametrize("deterministic", [False, True])
def test_switches_are_set_and_put_back(monkeypatch, name, single, deterministic):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    before = precision.flags()

    def compute():
        with precision.arithmetic({"precision": name, "deterministic": deterministic}):
            flags = precision.flags()
            assert [flags[key] for key in ("matmul", "convolution", "recurrent")] == [single] * 3
            assert flags["deterministic"] == flags["cudnn_deterministic"] == deterministic
            workspace = os.environ["CUBLAS_WORKSPACE_CONFIG"]
            assert workspace == (":4096:8" if deterministic else ":16:8")
            raise RuntimeError("put back after errors too")

    with pytest.raises(RuntimeError, match="put back after errors too"):
        compute()
    assert precision.flags() == before
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_a_run_computes_so_and_leaves_no_switch_behind(make, monkeypatch):
    seen = []
    environment = machine.environment
    monkeypatch.setattr(
        writer, "environment", lambda device: seen.append(precision.flags()) or environment(device)
    )
    before = precision.flags()
    status, folder = make("deterministic=true", "lrd.enabled=true")
    assert status == "done"
    assert folder.parent.name == "adam+lrd0.5+deterministic=True"
    assert seen[0]["deterministic"]
    assert seen[0]["convolution"] == "ieee"
    assert precision.flags() == before


def test_precision_and_determinism_are_hashed_at_other_values_than_the_default(tmp_path):
    plain = configure(runs_dir=tmp_path)
    others = [plain | {"precision": "tf32"}, plain | {"precision": "bf16"}]
    others += [plain | {"deterministic": True}]
    assert len({config_hash(config) for config in (plain, *others)}) == 4
    del plain["deterministic"]  # as in runs from before there was the key
    assert config_hash(plain) == config_hash(plain | {"deterministic": False})


def test_tf32_on_a_cpu_and_gpus_that_are_not_there_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="precision=tf32 is an arithmetic of GPUs"):
        check(configure("precision=tf32", "device=cpu", runs_dir=tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="device=cuda:1: there are 1 GPUs here"):
        resolve(configure("device=cuda:1", runs_dir=tmp_path))


def test_auto_is_a_gpu_if_there_is_one_but_for_the_toy(tmp_path, monkeypatch):
    configs = [configure(f"experiment={name}", runs_dir=tmp_path) for name in ("digits", "toy")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [processes.device_name(config) for config in configs] == ["cuda", "cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [processes.device_name(config) for config in configs] == ["cpu", "cpu"]


def test_a_gpus_number_becomes_the_current_device(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert processes.device("cuda:1") == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")]


def test_inputs_that_are_no_images_have_no_channels_to_put_last():
    text, images = torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 3, 4, 4)
    same, last = channels_last(torch.nn.Identity(), (text, images))
    assert same is text
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_a_gpu_is_recorded_with_driver_cudnn_capability_and_switches(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    with precision.arithmetic({"precision": "tf32", "deterministic": False}):
        record = machine.environment(torch.device("cuda"))
    assert record["device"] == "NVIDIA H100"
    assert record["gpu"]["capability"] == "9.0"
    assert record["gpu"]["convolution"] == "tf32"
    assert {"driver", "cuda", "cudnn", "deterministic"} <= record["gpu"].keys()


def test_a_run_that_went_on_elsewhere_says_so(interrupted_at, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cpu_model", lambda: "One CPU")
    interrupted_at(3, where=tmp_path)
    monkeypatch.setattr(machine, "cpu_model", lambda: "Another CPU")
    _, folder = interrupted_at(None, where=tmp_path)
    info = json.loads((folder / "run.json").read_text())
    assert info["machines_so_far"] == ["cpu / One CPU", "cpu / Another CPU"]


def test_a_gpus_checkpoint_is_not_gone_on_with_on_a_cpu(tmp_path):
    def of(device):
        return Checkpoints(tmp_path, {}, {"device": device}, 5, None)

    of("cpu")._check_identity(tmp_path, {**of("cpu")._identity})
    early = {key: value for key, value in of("cpu")._identity.items() if key != "device"}
    of("cpu")._check_identity(tmp_path, early)
    with pytest.raises(CheckpointError, match="device: cuda -> cpu"):
        of("cpu")._check_identity(tmp_path, of("cuda")._identity)
