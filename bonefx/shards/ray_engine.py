"""Shards on Ray Data: it starts workers, feeds them, and makes again what a lost one had not finished."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator

from bonefx.errors import BoneFXError, SourceError, quoted
from bonefx.shards.plan import Plan, Shard
from bonefx.shards.worker import Done, Worker

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before the import, which reads it

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError, UserCodeException

_ATTEMPTS = 30
"""Of a shard, by workers that were lost on the way: an image that ends its process costs three (`worker`)."""


class _Actor:
    """A worker in a process of Ray's."""

    def __init__(self, worker: Callable[[], Worker]) -> None:
        self._worker = worker()

    def __call__(self, batch: pa.Table) -> pa.Table:
        done = [self._worker.make(Shard(**row)) for row in batch.to_pylist()]
        return pa.Table.from_pylist([vars(each) for each in done])


class RayEngine:
    """Makes shards on a cluster; see `run.Engine`."""

    def __init__(self, address: str | None) -> None:
        """Connect, or start a cluster of this machine alone where there is no address.

        Raises:
            SourceError: nothing answers at the address.
        """
        if address and address != "auto":
            _check_answers(address)
        try:
            ray.init(
                address or "local",
                include_dashboard=None if address else False,
                log_to_driver=False,  # a decoder's words may quote a file
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise SourceError(f"No Ray cluster answers at {quoted(str(address))}. Start it first.") from error

    def __call__(self, plan: Plan, worker: Callable[[], Worker]) -> Iterator[Done]:
        """Shards as they are finished, in any order.

        Raises:
            BoneFXError: a shard could not be written.
        """
        DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        shards = [shard._asdict() for shard in plan.missing()]
        if not shards:
            return
        cores, gpus, most = _workers()
        made = ray.data.from_items(shards, override_num_blocks=len(shards)).map_batches(
            _Actor,
            fn_constructor_args=(worker,),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=cores,
            num_gpus=gpus,
            max_task_retries=_ATTEMPTS,
            compute=ActorPoolStrategy(min_size=1, max_size=most, max_tasks_in_flight_per_actor=2),
        )
        try:
            for row in made.iter_rows():
                yield Done(**row)
        except (RayError, UserCodeException) as error:
            raise BoneFXError(_reason(error)) from None

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Ask before Ray does: it would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise SourceError(f"No Ray cluster answers at {quoted(address)}. Start it first.") from error


def _workers() -> tuple[int, int, int]:
    """Cores and GPUs of a worker, and how many such workers the cluster has room for.

    A core each: networks next to each other are faster than one on several cores, and wait for nobody. Where
    nodes have GPUs, each is a worker's, with its share of the cores, and the other nodes do nothing: they
    would give other numbers.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    with_gpu = [(cores, gpus) for cores, gpus in room if cores and gpus]
    if not with_gpu:
        return 1, 0, max(1, sum(cores for cores, _ in room))
    share = max(1, min(cores // gpus for cores, gpus in with_gpu))
    return share, 1, sum(min(gpus, cores // share) for cores, gpus in with_gpu)


def _reason(error: BaseException) -> str:
    """What a worker said, without the traceback that Ray puts around it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, BoneFXError):
        cause = getattr(cause, "cause", None) or cause.__cause__
    return (
        str(cause)
        if cause is not None
        else "A worker failed for an unexpected reason; Ray's log has details."
    )
