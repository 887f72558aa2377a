"""Workers on Ray, on this machine or on a cluster (`pip install factd[ray]`).

There is an actor for each worker. Every actor loads the checkpoint itself. Items are dealt out in
small shares. The results of a share are taken once, when the share is complete. If an actor dies,
its share is dealt out again, to a new actor. So no result is lost and none comes twice.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from factd.editor.errors import BadSettings, WorkerLost
from factd.editor.models.model import EditableModel, load_model
from factd.editor.models.workers import Task

SHARES = 4  # per worker, so that the others do not have to wait for a slow one
TRIES = 3  # of a share, before its loss is an error
SHARE_TIMEOUT_SECONDS = 3600.0


class ModelActor:
    """The class of the actors: it holds a model and runs tasks on it."""

    def __init__(self, path: str, device: str, dtype: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.model = load_model(Path(path), device=device, dtype=dtype)

    def pid(self) -> int:
        """The id of the actor's process."""
        return os.getpid()

    def run(
        self, task: Task, items: Sequence[Any], shared: dict[str, Any]
    ) -> list[tuple[int, Any]]:
        """The results of a whole share of items."""
        return list(task(self.model, items, **shared))


@dataclass
class RayWorkers:
    """Actors on Ray; make them with `ray_workers`."""

    ray: Any  # the module
    path: Path  # of the checkpoint
    device: str
    dtype: str
    count: int
    actors: list[Any] = field(default_factory=list)

    def start(self) -> Any:
        """A new actor."""
        threads = max(1, torch.get_num_threads() // self.count) if self.device == "cpu" else 1
        threads = int(os.environ.get("OMP_NUM_THREADS", threads))
        gpus = 1 if self.device.startswith("cuda") else 0
        kind = self.ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(ModelActor)
        return kind.remote(str(self.path), self.device, self.dtype, threads)

    def pids(self) -> list[int]:
        """The process ids of the actors."""
        pids: list[int] = self.ray.get([actor.pid.remote() for actor in self.actors], timeout=300)
        return pids

    def run(self, task: Task, items: Sequence[Any], **shared: Any) -> Iterator[tuple[int, Any]]:
        """See `Workers.run`.

        Raises: WorkerLost: three actors died on the same share, or a share took longer than an
        hour.
        """
        size = -(-len(items) // (self.count * SHARES))
        waiting = [(start, 1) for start in range(0, len(items), size)][::-1]
        arguments = self.ray.put(shared)
        running: dict[Any, tuple[int, int, int]] = {}  # call -> actor, start of the share, try
        idle = list(range(self.count))
        while waiting or running:
            while idle and waiting:
                actor, (start, number) = idle.pop(), waiting.pop()
                call = self.actors[actor].run.remote(task, items[start : start + size], arguments)
                running[call] = (actor, start, number)
            ready, _ = self.ray.wait(list(running), timeout=SHARE_TIMEOUT_SECONDS)
            if not ready:
                raise WorkerLost(f"no worker has answered for {SHARE_TIMEOUT_SECONDS:g} seconds")
            actor, start, number = running.pop(ready[0])
            try:
                results = self.ray.get(ready[0], timeout=60)
            except self.ray.exceptions.RayActorError as error:
                if number == TRIES:
                    raise WorkerLost(
                        f"a worker died {TRIES} times on the same {size} items: {error}"
                    ) from error
                self.actors[actor] = self.start()
                waiting.append((start, number + 1))
            else:
                yield from ((start + n, result) for n, result in results)
            idle.append(actor)


@contextmanager
def ray_workers(
    model: EditableModel, count: int, *, address: str | None = None
) -> Iterator[EditableModel]:
    """The model with `count` workers on Ray, which end with the context.

    address: of a running cluster; None: workers on this machine. The model's weights must be those
    of its checkpoint, because every actor loads the checkpoint itself.

    Raises: BadSettings: Ray is not installed.
    """
    try:
        import ray  # an optional extra
    except ImportError as error:
        raise BadSettings("Ray is not installed; pip install factd[ray]") from error
    if address is None:
        ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False)
    else:
        ray.init(address=address)
    try:
        workers = RayWorkers(ray, model.path, model.device.type, model.dtype, count)
        workers.actors = [workers.start() for _ in range(count)]
        yield replace(model, workers=workers)
    finally:
        ray.shutdown()
