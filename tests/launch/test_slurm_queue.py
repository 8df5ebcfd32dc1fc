"""What is known of a Slurm job by the cluster's queue."""

from __future__ import annotations

import subprocess

import pytest

from kdbench.launch.slurm_queue import Queue


class Answers:
    """What `squeue --me --noheader --array --format='%i %T'` printed, answer by answer; the last one stays."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)

    def __call__(self) -> str:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise subprocess.CalledProcessError(1, "squeue")
        return answer


def test_a_job_is_lost_after_three_answers_without_it() -> None:
    queue = Queue(0.0, Answers("7_0 RUNNING\n7_1 PENDING\n", "7_0 COMPLETING\n"))
    queue.watch("7_0")
    queue.watch("7_1")
    assert queue.state("7_1") == "PENDING"
    assert [queue.has_lost("7_1") for _ in range(3)] == [False, False, True]
    assert not queue.has_lost("7_0")
    queue.forget("7_1")
    assert not queue.has_lost("7_1")


def test_a_job_that_is_queued_late_or_again_is_not_lost() -> None:
    queue = Queue(0.0, Answers("", "", "9 PENDING\n"))
    queue.watch("9")
    assert not any(queue.has_lost("9") for _ in range(10))


def test_while_the_controller_is_away_nothing_is_known_and_nothing_is_lost() -> None:
    queue = Queue(0.0, Answers("9 RUNNING\n", None))
    queue.watch("9")
    assert queue.state("9") == "RUNNING"
    assert queue.state("9") == ""
    assert not any(queue.has_lost("9") for _ in range(10))


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_the_queue_is_asked_once_for_all_jobs_in_a_while(seconds: float) -> None:
    asked = []
    queue = Queue(seconds, lambda: asked.append(1) or "3 RUNNING\n4 PENDING\n")  # type: ignore[func-returns-value]
    assert [queue.state(job) for job in ("3", "4", "5")] == ["RUNNING", "PENDING", ""]
    assert len(asked) == (1 if seconds else 3)
