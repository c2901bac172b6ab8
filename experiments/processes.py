"""Several processes that train one run together, as torchrun starts them.

    torchrun --nproc_per_node=2 -m experiments.run experiment=mnist

They are replicas: each has the whole net and optimizer, draws the same order, augmentation and
masks, and takes its part of every global batch. Gradients are weighed so that their mean is that
of the global batch. The first process evaluates and writes; the others follow what it decides.
Started alone, a process finds here that it is the first of one.
"""

from __future__ import annotations

import functools
import os
import pickle
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from experiments.configuration import Config, ConfigError
from experiments.signals import Interrupted, Interruption

P = ParamSpec("P")
Value = TypeVar("Value")

_PATIENCE = timedelta(days=7)  # for the first process to evaluate; one that dies is noticed at once
_LEAVING = timedelta(minutes=10)  # for the first to write its last checkpoint
# How torch reports it where it has no exception of its own
_LOST = r"(?i)connection (closed|reset)|broken pipe|timed out waiting"
_patient: list[Any] = []  # the group, on the CPU, of those who wait for the first


class Alone(SystemExit):
    """The end of a process whose error the others do not know of; torchrun ends them."""


class LostProcess(RuntimeError):
    """Another process of the run has ended or cannot be reached."""


def _joined() -> bool:
    """Whether this process is one of several that torchrun has started."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


@contextmanager
def group() -> Iterator[None]:
    """Join the processes that torchrun has started, if it has, and leave together.

    As soon as one has left with an error, torchrun ends the others: so all wait for the first to
    have closed its record. An exception, `Alone` among them, does not wait.
    """
    if not _joined():
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    _patient.append(dist.new_group(backend="gloo", timeout=_PATIENCE))
    try:
        yield
        with suppress(RuntimeError):  # one that does not come has ended
            dist.monitored_barrier(_patient[0], _LEAVING)
        dist.destroy_process_group()
        _patient.clear()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # torchrun may send one to who ends last


@contextmanager
def contact() -> Iterator[None]:
    """Name the errors of the network: LostProcess, whose cause another process reports."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or re.search(_LOST, str(error))
        if size() == 1 or not lost:
            raise
        raise LostProcess(
            f"process {rank()} of {size()} has lost another one: its message or torchrun's "
            "says why. The same command goes on from the last checkpoint"
        ) from error


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def first() -> bool:
    return rank() == 0


def check_launcher(name: str) -> None:
    """Raise ConfigError for a launcher, other than Hydra's basic one, under torchrun."""
    if _joined() and name != "basic":
        raise ConfigError(f"hydra/launcher={name} does not go with torchrun: leave one of them out")


def device_name(config: Config) -> str:
    """What `auto` means here: a GPU if there is one, but a CPU for the toy, which is too small."""
    if config["device"] != "auto":
        return config["device"]
    return "cuda" if torch.cuda.is_available() and config["task"] != "toy" else "cpu"


def device(name: str) -> torch.device:
    """The device of a name, made the current one; of several GPUs, this process's own.

    Raises ConfigError for a GPU's number, and if there are more processes than GPUs.
    """
    if name == "cpu" or size() == 1:
        single = torch.device(name)
        if single.index is not None and single.type == "cuda":
            torch.cuda.set_device(single)
        return single
    if name != "cuda":
        raise ConfigError(
            f"device must be auto, cpu or cuda with several processes, got {name!r}: each takes "
            "the GPU of its own number"
        )
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= gpus:
        raise ConfigError(f"there are {gpus} GPUs here: lower --nproc_per_node, or set device=cpu")
    torch.cuda.set_device(number)
    return torch.device(f"cuda:{number}")


def check_run(batch_size: int, task: Any) -> None:
    """Raise ConfigError for a batch that is not enough for all processes, or a task that they
    cannot share."""
    if batch_size < size():
        raise ConfigError(
            f"batch_size={batch_size} is not enough for {size()} processes: lower --nproc_per_node"
        )
    if size() > 1 and not hasattr(task, "weight"):
        raise ConfigError(
            f"{task.__name__} has no weight(model, batch), which says how many things its loss is "
            "a mean over: write it, or run one process"
        )


def part(count: int) -> slice:
    """This process's part of `count` samples; their first one where there are too few for all."""
    share, rest = divmod(count, size())
    start = rank() * share + min(rank(), rest)
    return slice(start, start + share + (rank() < rest)) if rank() < count else slice(0, 1)


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """With batch norm over all processes' samples on GPUs; torch has none for CPUs."""
    if size() > 1 and device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    own = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if size() > 1 and first() and own:
        print("batch norm takes each process's own samples, and keeps the first's statistics")
    return model


def replicated(model: nn.Module) -> nn.Module:
    """The model with gradients that are averaged over the processes while they are computed."""
    if size() == 1:
        return model
    # of 1 × 1 convolutions with channels last, whose strides have no meaning
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(model, forward_sync_buffers=False, gradient_as_bucket_view=True)


def share(
    loss: Tensor, sums: dict[str, Tensor], weight: Tensor | int, count: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and columns of this process's part, made those of a global batch of `count`.

    `loss` is a mean over `weight` things (samples, pixels, boxes). The processes' mean of what
    comes back, and so of its gradients, is the global batch's loss; the columns are its columns.
    """
    works = float(rank() < count)  # a sample that only keeps a process busy counts for nothing
    weight = works * weight * torch.ones((), dtype=torch.float64, device=loss.device)
    columns = {**sums, **({"train_loss": loss.detach() * weight} if "train_loss" in sums else {})}
    total = torch.stack([weight, *(works * of.detach().double() for of in columns.values())])
    dist.all_reduce(total)
    whole = total[0].clamp(min=1)  # there may be not one labelled pixel
    columns = dict(zip(columns, total[1:], strict=True))
    if "train_loss" in sums:
        columns["train_loss"] = columns["train_loss"] / whole * count
    return loss * (weight * size() / whole).to(loss.dtype), columns


def together(function: Callable[P, Value]) -> Callable[P, Value]:
    """Decorates what every process does; if it fails on one, its error is raised on all."""

    @functools.wraps(function)
    def on_all(*arguments: P.args, **more: P.kwargs) -> Value:
        if size() == 1:
            return function(*arguments, **more)
        value, error = _outcome(functools.partial(function, *arguments, **more))
        errors: list[BaseException | None] = [None] * size()
        with contact():
            dist.all_gather_object(errors, error, group=_patient[0])
        share_error(error or next((other for other in errors if other is not None), None))
        return value

    return on_all


def on_first(function: Callable[P, Value]) -> Callable[P, Value]:
    """Decorates what the first process does alone; all get what it returns or raises."""

    @functools.wraps(function)
    def on_one(*arguments: P.args, **more: P.kwargs) -> Value:
        if size() == 1:
            return function(*arguments, **more)
        call = functools.partial(function, *arguments, **more)
        outcome = [_outcome(call) if first() else None]
        with contact():
            dist.broadcast_object_list(outcome, src=0, group=_patient[0])
        value, error = outcome[0]
        share_error(error)
        return value

    return on_one


def _outcome(function: Callable[[], Value]) -> tuple[Value | None, BaseException | None]:
    try:
        return function(), None
    except (Exception, Interrupted) as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # whatever an exception of some library does when it is copied
            return None, RuntimeError(f"{type(error).__name__}: {error}")
        return None, error


def share_error(error: BaseException | None) -> None:
    """Raise an error, if it is one, that every process raises."""
    if error is not None:
        error.known_to_all = True
        raise error


def known_to_all(error: BaseException) -> bool:
    """Whether every process ends with this error, so that none needs to be ended."""
    return size() == 1 or getattr(error, "known_to_all", False)


def interruption() -> Interruption:
    """What hears of signals: to this process, or to any."""
    return Interruption() if size() == 1 else SharedInterruption()


class SharedInterruption(Interruption):
    """A signal to any process as a request to all, which they answer at the same step."""

    def __init__(self) -> None:
        super().__init__()
        self._heard, self._flag = 0, torch.zeros((), dtype=torch.int64)
        self._asking: dist.Work | None = None

    def _note(self, number: int, _: object) -> None:
        super()._note(number, None)
        self._heard, self._number = number, 0  # which all agree on first

    def agree(self, alone: bool = False) -> None:
        if alone:
            self._number = self._heard
            return
        # The answer is that of the last call, so that nobody waits for it
        if self._asking is not None:
            self._asking.wait()
            self._number = int(self._flag)
        self._flag.fill_(self._heard)
        self._asking = dist.all_reduce(self._flag, dist.ReduceOp.MAX, async_op=True)

    def check(self) -> None:
        if self._number:
            share_error(Interrupted(self._number))

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is LostProcess and self._old.pop(signal.SIGTERM, None) is not None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which torchrun sends to those left
        self._restore()
        if kind is None and self._asking is not None:
            with contact():
                self.agree()
                self._asking.wait()
            self._number = int(self._flag)
            self.check()
        elif kind and issubclass(kind, Exception) and kind is not LostProcess and self._heard:
            raise Interrupted(self._heard)  # of this process alone, which ends the others
