"""The launcher `ray`: tasks of a Ray cluster whose machines share a disk."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kdbench.errors import RunFailed, Unavailable
from kdbench.launch.launcher import Program
from kdbench.launch.machine import environment_of
from kdbench.launch.ray_head import Head
from kdbench.launch.remote import INTERRUPT, KILL, RemoteProgram
from kdbench.registry import launcher
from kdbench.util.extras import installing
from kdbench.util.progress import Reporter

_NO_CODE = 1
"""The exit code of a task that has none of its own."""
_OF_THE_MACHINE = ("RAY_", "CUDA_VISIBLE_DEVICES", "HOSTNAME", "TMPDIR")
"""Variables, by how they begin, that each machine or each task has its own of."""
_GIB = 2**30
_LONGEST_NAME = 200
_ANSWER_SECONDS = 10.0


@launcher("ray")
class Ray:
    """Tasks of a Ray cluster, each with its share of cores, GPUs and memory; without a cluster, of this machine.

    The folder of the runs, the data and this kdbench have to be on a disk that all machines share. Where a machine
    fails, its runs go on elsewhere from their last epoch.

    Args:
        jobs: Tasks at a time.
        device: `auto`, `cpu` or `cuda`.
        reporter: Is warned of what goes wrong and costs no job.
        address: Of the cluster's head, `HOST:PORT`; by default `$RAY_ADDRESS`, else a cluster of this machine alone.
        cores: Cores of a task.
        gpus: GPUs of a task, or a share of one; by default one where the device is `cuda`, else none.
        memory_gb: Memory that Ray sets aside for a task, GiB; by default none.
        retries: How often a task may be started again because its machine or its process was lost.
    """

    def __init__(
        self,
        *,
        jobs: int,
        device: str,
        reporter: Reporter,
        address: str | None = None,
        cores: float = 1.0,
        gpus: float | None = None,
        memory_gb: float | None = None,
        retries: int = 3,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise Unavailable("the launcher 'ray' needs Ray", hint=f"Install it: {installing('ray')}") from error
        self.slots = jobs
        self.ray = ray
        self._reporter = reporter
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._cores = cores
        self.head = Head(None)
        wanted: dict[str, Any] = {"num_cpus": cores, "max_retries": retries}
        wanted["num_gpus"] = gpus if gpus is not None else float(device == "cuda")
        if memory_gb is not None:
            wanted["memory"] = int(memory_gb * _GIB)
        self._wanted = wanted
        self._here: dict[str, Any] = {"num_cpus": max(1, round(jobs * cores))}
        self._here |= {"num_gpus": 0} if device == "cpu" else {}

    def __enter__(self) -> Self:
        """See `Launcher`.

        Raises:
            Unavailable: There is no cluster at that address.
        """
        quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "namespace": "kdbench"}
        try:
            if self._address:
                self._demand_an_answer(self._address)
                self.ray.init(address=self._address, **quiet)
            else:
                self.ray.init(address="local", include_dashboard=False, **self._here, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise Unavailable(
                f"there is no Ray cluster at {self._address}: {str(error).strip().splitlines()[0]}",
                hint="Start one with `ray start --head`, or leave out its address.",
            ) from error
        # A client speaks to the cluster through another port, and cannot reach its head.
        asked = not (self._address or "").startswith("ray://")
        self.head = Head(self.ray.get_runtime_context().gcs_address if asked else None)
        self._warn_where_nothing_fits()
        return self

    @staticmethod
    def _demand_an_answer(address: str) -> None:
        """Fails soon where nobody listens; Ray itself tries for many minutes."""
        host, colon, port = address.removeprefix("ray://").rpartition(":")
        if colon and port.isdigit():
            with socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS):
                pass

    # A task that asks for what no machine has would wait without a word.
    def _warn_where_nothing_fits(self) -> None:
        nodes: list[dict[str, Any]] = self.ray.nodes()  # type: ignore[no-untyped-call]
        there = [node.get("Resources", {}) for node in nodes if node.get("Alive")]
        asked = {"CPU": self._wanted["num_cpus"], "GPU": self._wanted["num_gpus"]}
        for name, amount in asked.items():
            largest = max((node.get(name, 0.0) for node in there), default=0.0)
            if amount > largest:
                self._reporter.warn(
                    f"a task asks for {amount:g} {name}, and no machine of the cluster has more than {largest:g}: "
                    "it waits until one joins"
                )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Launcher`."""
        # Without a head it would wait for one, until Ray ends this process.
        if not self.head.is_lost:
            self.ray.shutdown()

    def start(self, program: Program, log: Path, slot: int) -> RayJob:  # noqa: ARG002 – Ray has its own places
        """See `Launcher`."""
        own = {key: value for key, value in os.environ.items() if not key.startswith(_OF_THE_MACHINE)}
        threads = own.get("OMP_NUM_THREADS", str(max(1, int(self._cores))))
        environment = environment_of(0, jobs=1, gpus=[], cores=1, base={**own, "OMP_NUM_THREADS": threads})
        remote = RemoteProgram(program, log, environment)
        return RayJob(self, remote, self._task(program).remote(remote))

    def _task(self, program: Program) -> Any:
        # Its workers import this kdbench, whatever is installed there.
        path = environment_of(0, jobs=1, gpus=[], cores=1, base=os.environ).get("PYTHONPATH", "")
        name = " ".join((program.module, *program.arguments))[:_LONGEST_NAME]
        return self.ray.remote(_run).options(runtime_env={"env_vars": {"PYTHONPATH": path}}, name=name, **self._wanted)


def _run(program: RemoteProgram) -> int:
    """What a task does on its machine."""
    try:
        return program()
    except KeyboardInterrupt:
        program.end()
        raise


class RayJob:
    """One task.

    Args:
        place: The launcher.
        program: What it runs.
        reference: Ray's handle of its result.
    """

    def __init__(self, place: Ray, program: RemoteProgram, reference: Any) -> None:
        self.log = program.log
        self.program = program
        self._place = place
        self._reference = reference
        self._code: int | None = None

    def poll(self) -> int | None:
        """See `Job`.

        Raises:
            RunFailed: The cluster has lost its head, which ends all that runs there.
        """
        if self._code is None and self._place.head.is_lost:
            raise RunFailed(
                "the head of the Ray cluster does not answer any more",
                hint="Start the cluster, and repeat the same command: what is finished is kept, with every epoch.",
            )
        if self._code is None:
            ray = self._place.ray
            try:
                ready, _ = ray.wait([self._reference], timeout=0)
                if ready:
                    self._code = int(ray.get(self._reference))
            except Exception as error:
                said = (str(error).strip().splitlines() or [type(error).__name__])[0]
                self.program.note(f"error: the task was lost: {said}")
                self._code = _NO_CODE
            if self._code is not None:
                self.program.forget()
        return self._code

    def printed(self) -> str:
        """See `Job`."""
        return self.program.printed()

    def interrupt(self) -> None:
        """See `Job`; one that waits for its place is taken out of the queue."""
        if self.poll() is None:
            self.program.tell(INTERRUPT)
            if not self.program.has_begun:
                self._place.ray.cancel(self._reference)

    def kill(self) -> None:
        """See `Job`."""
        if self._place.head.is_lost:
            self.program.tell(KILL)
        elif self.poll() is None:
            self.program.tell(KILL)
            if not self.program.has_begun:
                self._place.ray.cancel(self._reference, force=True)
