"""A training in several processes says at every step what it says in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import fork, wait
from sharing_program import CASES, training_of

from kdbench.launch.launcher import Program
from kdbench.network.sharing import ALONE
from kdbench.registry import registry

COUNTS = (1, 2, 3)
Outcomes = dict[int, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcomes]:
    """What each process of each number of them says of each case."""
    root = tmp_path_factory.mktemp("processes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        # The data are generated once, before processes would do it side by side.
        training_of("zoo", ALONE, root)
        for count in COUNTS:
            folder = root / str(count)
            folder.mkdir()
            logs = [(folder / f"log{rank}").open("wb") for rank in range(count)]
            running = [
                fork(Program("sharing_program", (str(rank), str(count), str(folder / "store"), str(folder))), log, log)
                for rank, log in enumerate(logs)
            ]
            for log, process in zip(logs, running, strict=True):
                assert wait(process, 500) == 0, Path(log.name).read_text()
                log.close()
    return {
        case: {count: [read(root / str(count), count, rank, case) for rank in range(count)] for count in COUNTS}
        for case in CASES
    }


def read(folder: Path, count: int, rank: int, case: str) -> dict[str, Any]:
    return json.loads((folder / f"{count}-{rank}-{[*CASES].index(case)}" / "outcome.json").read_text())


@pytest.mark.slow
# The processes wait for one another, and the first of these tests for all of them.
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("case", CASES)
def test_every_step_is_that_of_one_process(outcomes: dict[str, Outcomes], case: str) -> None:
    (alone,) = outcomes[case][1]
    for count in COUNTS[1:]:
        first, *others = outcomes[case][count]
        for key in ("steps", "predictions", "state"):
            np.testing.assert_allclose(first[key], alone[key], rtol=1e-5, atol=1e-5, err_msg=f"{key}, {count}")
        for ours, theirs in zip(first["epochs"], alone["epochs"], strict=True):
            for key in ("terms", "weights", "diagnostics", "grad_norms"):
                assert ours[key] == pytest.approx(theirs[key], rel=1e-3 if key == "grad_norms" else 1e-5, abs=1e-5)
            assert ours["accuracy"] == theirs["accuracy"]
            assert ours["validation"] == theirs["validation"]
        # What each of them holds is the same to the last bit: else they would part. The best epoch is for the first.
        kept = ("steps", "epochs") if case == "best epoch" else ("steps", "epochs", "state", "predictions")
        for other in others:
            assert all(other[key] == first[key] for key in kept)


def test_every_loss_and_fusion_is_tried() -> None:
    trainings = [training_of(case, ALONE, Path())[1] for case in CASES]
    objectives = [each.objective for training in trainings for each in (training, *training.peers)]
    assert {name for objective in objectives for name in objective.names} == set(registry("loss").names())
    fusions = {network.fusion.__kdbench_part__.name for training in trainings for network in training._networks()}
    assert fusions == set(registry("fusion").names())
