"""The launcher `slurm`: jobs of a Slurm cluster, through submitit."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from kdbench.errors import RunFailed, Unavailable
from kdbench.launch.launcher import Program
from kdbench.launch.machine import environment_of
from kdbench.launch.remote import INTERRUPT, KILL, RemoteProgram
from kdbench.launch.slurm_queue import Queue
from kdbench.registry import launcher
from kdbench.util.extras import installing
from kdbench.util.files import unwritable
from kdbench.util.progress import Reporter

FOLDER = "submitit"
_LOOK_SECONDS = {"slurm": 5.0, "local": 0.2}
"""How often it is looked at how a job is; Slurm's controller does not like to be asked often."""
_NO_CODE = 1
"""The exit code of a job that has none of its own."""


@launcher("slurm")
class Slurm:
    """Jobs of a Slurm cluster, by submitit, each with cores, memory and a GPU; those that start together are an array.

    The folder of the runs has to be on a disk that all machines share. Where the time of a job is over, or it has to
    make room for others, the run keeps its last epoch, and the job is queued again.

    Args:
        jobs: Jobs at a time.
        device: `auto`, `cpu` or `cuda`.
        reporter: Is warned of what goes wrong and costs no job.
        minutes: Time limit of a job; a run that takes longer goes on in the next one.
        cores: Cores of a job.
        memory_gb: Memory of a job, GiB.
        gpus: GPUs of a job; by default one, and none where the device is `cpu`.
        partition: Where jobs are queued; by default the cluster's.
        account: Who pays for them.
        qos: Their quality of service.
        requeues: How often a job may be queued again because its time was over.
        warning_seconds: How long before the end of its time a job is told.
        cluster: `slurm`, or `local` to try all this with processes of this machine.
    """

    def __init__(
        self,
        *,
        jobs: int,
        device: str,
        reporter: Reporter,  # noqa: ARG002 – what goes wrong with a job costs that job
        minutes: int = 60,
        cores: int = 2,
        memory_gb: float = 8.0,
        gpus: int | None = None,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        requeues: int = 10,
        warning_seconds: int = 120,
        cluster: Literal["slurm", "local"] = "slurm",
    ) -> None:
        self.slots = jobs
        self.cluster: str = cluster
        self._cores = cores
        self._requeues = requeues
        self._executor: Any = None
        self._waiting: list[SlurmJob] = []
        self.queue = Queue(_LOOK_SECONDS["slurm"]) if cluster == "slurm" else None
        self._wanted: dict[str, Any] = {"timeout_min": minutes, "cpus_per_task": cores, "mem_gb": memory_gb}
        self._wanted |= {"gpus_per_node": gpus if gpus is not None else int(device != "cpu" and cluster == "slurm")}
        if cluster == "slurm":
            named = {"slurm_partition": partition, "slurm_account": account, "slurm_qos": qos}
            self._wanted |= {key: value for key, value in named.items() if value is not None}
            self._wanted |= {"slurm_array_parallelism": jobs, "slurm_signal_delay_s": warning_seconds}
            # Asked for, since a cluster may be set to let a job die with its machine.
            self._wanted |= {"name": "kdbench", "slurm_additional_parameters": {"requeue": True}}
            if shutil.which("sbatch") is None:
                raise Unavailable(
                    "the launcher 'slurm' finds no sbatch here",
                    hint="Start it on a machine of the cluster, or try it here: --launcher-option cluster=local",
                )
        try:
            import submitit
        except ImportError as error:
            raise Unavailable(
                "the launcher 'slurm' needs submitit", hint=f"Install it: {installing('slurm')}"
            ) from error
        self._submitit = submitit

    def __enter__(self) -> Self:
        """See `Launcher`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Launcher`."""

    def start(self, program: Program, log: Path, slot: int) -> SlurmJob:  # noqa: ARG002 – a job has a machine of its own
        """See `Launcher`; jobs that are started before one of them is looked at are submitted together."""
        self._open(log.parent / FOLDER)
        threads = os.environ.get("OMP_NUM_THREADS", str(self._cores))
        own = environment_of(0, jobs=1, gpus=[], cores=self._cores, base={"OMP_NUM_THREADS": threads})
        job = SlurmJob(self, RequeuedProgram(program, log, own))
        self._waiting.append(job)
        return job

    def _open(self, folder: Path) -> None:
        if self._executor is not None:
            return
        try:
            # Programs may be given what other users should not see.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(error, folder) from error
        kept = {"slurm_max_num_timeout": self._requeues} if self.cluster == "slurm" else {}
        self._executor = self._submitit.AutoExecutor(folder=folder.absolute(), cluster=self.cluster, **kept)
        try:
            self._executor.update_parameters(**self._wanted)
        except (NameError, ValueError, TypeError) as error:
            raise RunFailed(
                f"submitit does not take these options: {error}", hint="Mend them: --launcher-option NAME=VALUE"
            ) from error

    def submit(self) -> None:
        """Submits what waits: as one array where it is more than one."""
        waiting, self._waiting = self._waiting, []
        submitted: list[Any] = []
        try:
            with self._executor.batch():
                submitted = [self._executor.submit(job.program) for job in waiting]
        except Exception as error:
            for job in waiting:
                job.fail(f"it could not be submitted: {error}")
            return
        for job, its in zip(waiting, submitted, strict=True):
            job.submitted = its
            if self.queue is not None:
                self.queue.watch(its.job_id)


class RequeuedProgram(RemoteProgram):
    """A program whose job is queued again where its time is over or others come first; arguments as of its base."""

    def checkpoint(self) -> Any:
        """Called there by submitit: lets the program keep what it has, and asks for a further job."""
        import submitit

        self.end()
        return submitit.helpers.DelayedSubmission(self)


class SlurmJob:
    """One job.

    Args:
        place: The launcher, which submits it.
        program: What it runs.
    """

    def __init__(self, place: Slurm, program: RemoteProgram) -> None:
        self.log = program.log
        self.program = program
        self.submitted: Any = None
        self._place = place
        self._code: int | None = None
        self._looked = float("-inf")

    def fail(self, why: str) -> None:
        """Ends it, with a line in its log on why it has no exit code of its own."""
        self.program.note(f"error: {why}")
        self._code = _NO_CODE

    def poll(self) -> int | None:
        """See `Job`."""
        if self._code is None and self.submitted is None:
            self._place.submit()
        if self._code is None and time.monotonic() - self._looked >= _LOOK_SECONDS[self._place.cluster]:
            self._looked = time.monotonic()
            self._look()
        return self._code

    def _look(self) -> None:
        queue, number = self._place.queue, self.submitted.job_id
        if queue is None:
            if self.submitted.done():
                self._conclude()
        # On a shared disk a file may be seen late, and where its folder is listed.
        elif self.submitted.paths.result_pickle in self.submitted.paths.folder.iterdir():
            self._conclude()
        elif queue.has_lost(number):
            self.fail(f"the job {number} ended without a result: it was cancelled, or its machine failed")
            self._end()

    def _conclude(self) -> None:
        try:
            self._code = int(self.submitted.result())
        except Exception as error:
            last = (str(error).strip().splitlines() or ["it was cancelled or its machine failed"])[-1]
            self.fail(f"the job {self.submitted.job_id} ended without a result: {last}")
        self._end()

    def _end(self) -> None:
        self.program.forget()
        if self._place.queue is not None:
            self._place.queue.forget(self.submitted.job_id)

    def printed(self) -> str:
        """See `Job`."""
        return self.program.printed()

    def interrupt(self) -> None:
        """See `Job`; one that waits in the queue is taken out of it."""
        if self.poll() is not None:
            return
        self.program.tell(INTERRUPT)
        queue = self._place.queue
        state = str(self.submitted.state) if queue is None else queue.state(self.submitted.job_id)
        if state.upper().startswith("PENDING"):
            self.submitted.cancel()

    def kill(self) -> None:
        """See `Job`."""
        if self.poll() is not None:
            return
        self.program.tell(KILL)
        if self._place.cluster == "slurm":
            self.submitted.cancel()
