"""The processes that train one run together: what they exchange, by torch.distributed.

Each process holds the whole model, builds the same batches by the same generators and works on its
rows of each. Losses are weighed such that gradients, summed over the processes, are those of the
batch. Without a group of processes every function here does what one process needs: mostly nothing.

B rows of a batch.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from experiments import processes
from experiments.errors import FailedError, PaddockError

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others within an exchange before it gives up."""

UNBOUNDED = timedelta(days=365)
"""How long processes wait for the first, which waits for a lock. torchrun ends them if it dies."""

Made = TypeVar("Made")


def size() -> int:
    """How many processes train the run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, for the block; nothing for a single one.

    Parameters
    ----------
    device : torch.device
        Where this process computes: CUDA exchanges by NCCL, a CPU by gloo.

    Raises
    ------
    FailedError
        If the others do not come.
    """
    if processes.size() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _exchange():
        shared, own, others = next(dist.rendezvous("env://", timeout=TIMEOUT))
        # A process may train a run after another: what the earlier group left counts no more.
        store = dist.PrefixStore(f"run {next(_groups)}", shared)
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=own,
            world_size=others,
            timeout=TIMEOUT,
        )
    _store[:] = [dist.PrefixStore("paddock", store)]
    yield
    leave()


_groups = count()
_store: list[dist.Store] = []
"""What the processes of this one's group leave notes in."""


def leave() -> None:
    """Part from the other processes, with which nothing more is exchanged.

    After an error nobody does: the connections stay open until the process has said why it ends.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
        _store.clear()


@contextmanager
def first_holds(lock: AbstractContextManager[Any]) -> Iterator[None]:
    """Let the first process hold a lock for all; the others wait until it does, however long.

    Parameters
    ----------
    lock : context manager
        Entered by the first process alone.
    """
    if size() == 1:
        with lock:
            yield
        return
    # Locks are taken in the same order in all processes.
    (store,) = _store
    key = f"lock {next(_locks)}"
    if rank() > 0:
        with _exchange():
            store.wait([key], UNBOUNDED)
        yield
        return
    with lock:
        with _exchange():
            store.set(key, "held")
        yield


_locks = count()


def from_first(value: Made) -> Made:
    """What the first process gives, in all of them.

    Parameters
    ----------
    value : object
        Of the first process; those of the others are dropped.
    """
    if size() == 1:
        return value
    given = [value]
    with _exchange():
        dist.broadcast_object_list(given, src=0)
    return given[0]


def gathered(work: Callable[[], Made]) -> list[Made]:
    """Work in every process, and what each of them made, in the order of the processes.

    Parameters
    ----------
    work : callable
        Makes this process's part.

    Raises
    ------
    PaddockError
        The first that a process met, in all of them.
    """
    if size() == 1:
        return [work()]
    made: Any
    try:
        made = work()
    except PaddockError as error:
        made = error
    every: list[Any] = [None] * size()
    with _exchange():
        dist.all_gather_object(every, made)
    for each in every:
        if isinstance(each, PaddockError):
            raise each
    return every


def same_weights(model: nn.Module) -> None:
    """Give all processes the weights of the first.

    Parameters
    ----------
    model : nn.Module
        Its parameters and buffers are replaced.
    """
    if size() > 1:
        with _exchange(), torch.no_grad():
            for weight in model.state_dict().values():
                dist.broadcast(weight, src=0)


def seed_apart(seed: int) -> None:
    """Let every process but the first draw dropout of its own.

    Parameters
    ----------
    seed : int
        Of the run.
    """
    if rank() > 0:
        torch.manual_seed(seed + (rank() << 32))


def total(loss: Tensor) -> float:
    """The sum of a batch's loss over the processes.

    Parameters
    ----------
    loss : Tensor
        This process's part of it, a scalar.
    """
    if size() > 1:
        loss = loss.detach().double()
        with _exchange():
            dist.all_reduce(loss)
    return loss.item()


def add_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its sum over the processes.

    A weight that no process has a gradient of keeps none, so that an optimizer passes it over.

    Parameters
    ----------
    weights : iterable of nn.Parameter
        The same in all processes, in the same order.
    """
    if size() == 1:
        return
    kinds: dict[torch.dtype, list[nn.Parameter]] = {}
    for weight in weights:
        if weight.requires_grad:
            kinds.setdefault(weight.dtype, []).append(weight)
    for same in kinds.values():
        known = torch.stack([_known(weight) for weight in same])
        flat = torch.cat([known, *(_gradient(weight).flatten() for weight in same)])
        with _exchange():
            dist.all_reduce(flat)
        sums = flat[len(same) :].split([weight.numel() for weight in same])
        for weight, has, gradient in zip(same, flat[: len(same)].tolist(), sums, strict=True):
            weight.grad = gradient.view_as(weight) if has else None


def _known(weight: nn.Parameter) -> Tensor:
    return weight.new_full((), float(weight.grad is not None))


def _gradient(weight: nn.Parameter) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


class Part(NamedTuple):
    """The rows of a batch that this process works on.

    Attributes
    ----------
    rows : slice
        Which of the batch's B rows. Where there are fewer rows than processes, one without a row
        computes the first with weight 0.
    whole : bool
        All of them: there is one process.
    empty : bool
        None of them.
    """

    rows: slice
    whole: bool
    empty: bool = False

    def weighed(self, loss: Tensor, terms_B: Tensor) -> Tensor:
        """The loss of this process such that the sum over the processes is the loss of the batch.

        Parameters
        ----------
        loss : Tensor
            The mean over the terms of this process's rows, a scalar.
        terms_B : Tensor
            Terms that each row of the batch brings to the mean, shape (B,).
        """
        if self.whole:
            return loss
        return loss * self.share(terms_B)

    def share(self, terms_B: Tensor) -> float:
        """The share that this process's rows have of the terms of a batch.

        Parameters
        ----------
        terms_B : Tensor
            Terms of each row of the batch, shape (B,).
        """
        return 0.0 if self.empty else int(terms_B[self.rows].sum()) / int(terms_B.sum())


@cache
def _whole() -> Part:
    return Part(slice(None), whole=True)


def part(rows: int) -> Part:
    """This process's part of a batch: every row whose number falls to it in turn.

    Parameters
    ----------
    rows : int
        B.
    """
    if size() == 1:
        return _whole()
    if rows <= rank():
        return Part(slice(0, 1), whole=False, empty=True)
    return Part(slice(rank(), None, size()), whole=False)


@contextmanager
def _exchange() -> Iterator[None]:
    """Say in one sentence that the others are gone."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise FailedError(
            f"process {processes.rank()} of {processes.size()} no longer reaches the others "
            f"({reason:.200}): one of them ended; the same command goes on from the last checkpoint"
        ) from error
