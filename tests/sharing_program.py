"""Several trainings, step by step, in one of N processes that share their batches.

`python -m sharing_program RANK COUNT STORE OUT CASE…`: the leading process writes what came out, a line of JSON a case.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from helpers import WORLD

from kdbench.engine.loop import Training
from kdbench.evaluation.predict import predict
from kdbench.network.sharing import Processes
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.faculty import untrained_networks
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training
from kdbench.runs.teacher import Teacher, teacher_training

BATCH = ["student.train.batch_size=7", "student.train.epochs=2", "student.train.lr=1e-4"]
_TAUGHT = ["student.augment={rotate_deg: 8, shift: 0.1, scale: 0.1}", "student.encoder.dropout=0.3", *BATCH]
_OWN = ["teacher.train={epochs: 2, batch_size: 7, lr: 1.0e-4}", "teacher.augment={noise: 0.05, scale: 0.1}"]
_ZOO = [
    "ab",
    "at",
    "cat_kd",
    "cc",
    "comodo",
    "condrk",
    "crd",
    "ctkd",
    "cwd",
    "diffkd",
    "dist",
    "dkd",
    "factor",
    "fsp",
    "group_ce",
    "gsdm",
    "hint",
    "ickd",
    "kdsvd",
    "logits",
    "mars",
    "mgd",
    "mlld",
    "nkd",
    "nst",
    "ofa",
    "ofd",
    "pkd",
    "pkt",
    "pskd",
    "reviewkd",
    "rkd",
    "sdd",
    "se",
    "semckd",
    "series",
    "sgm",
    "sp",
    "srrl",
    "st_mix",
    "ttm",
    "vid",
    "vkd",
    "wsld",
]
CASES: dict[str, tuple[str, Sequence[str]]] = {
    # Every loss that compares with a frozen teacher, and those of the student alone, in one objective.
    "zoo": ("kd", [*_TAUGHT, *(f"student.losses.{name}.weight=0.1" for name in _ZOO)]),
    "ablated channel": ("sgm_ft", [*_TAUGHT, "student.losses.sgm.ablation=channel"]),
    "simkd": ("simkd", _TAUGHT),
    "c2kd": ("c2kd", [*_TAUGHT, "student.losses.dmcl.weight=1"]),
    "dot": ("kd_dot", _TAUGHT),
    "gradnorm": ("sgm_ft_gradnorm", [*_TAUGHT, "student.balance.every=2"]),
    "uncertainty": ("sgm_ft_uncertainty", _TAUGHT),
    "few labels": ("kd", [*_TAUGHT, "track={labels: 1}"]),
    "best epoch": ("kd", [*_TAUGHT, "selection.rule=best-val"]),
    "wrong trials": ("kd_wrong_trials", _TAUGHT),
    **{f"teacher {name}": ("teacher_only", _OWN) for name in ("gaf_ft", "raw_sum", "raw_hadamard", "raw_concat")},
    "teacher keyless_style": ("teacher_only", _OWN),
    "teacher hamlet_style": ("teacher_only", [*_OWN, "teacher.fusion={dropout: 0.3, attention_dropout: 0.3}"]),
    "teacher mumu_style": ("teacher_only", [*_OWN, "teacher.fusion={dropout: 0.3, norm: batch}"]),
    "teacher mcrl_style": ("teacher_only", _OWN[:1]),
    "teacher sakdn": ("teacher_only", [*_OWN, "teacher.fusion={layers: [8], dropout: 0.3}"]),
    "teacher raw_transformer1d": ("teacher_only", [*_OWN, "teacher.drop_sources=0.4"]),
    "teacher keyless": ("teacher_only", [*_OWN, "teacher.fusion.dropout=0.3"]),
}
"""Method and changes of each case; `teacher NAME` trains that teacher."""


def training_of(case: str, processes: Processes, folder: Path) -> tuple[RunContext, Training]:
    method, changes = CASES[case]
    kind, _, name = case.partition(" ")
    request = RunRequest(
        method,
        "motionsim",
        preset="smoke",
        device="cpu",
        threads=1,
        overrides=[*WORLD, *changes],
        teacher=name if kind == "teacher" else None,
    )
    context = dataclasses.replace(context_for(request, shown=False), processes=processes)
    pairs = untrained_networks(context)
    if kind == "teacher":
        part, network = pairs[0]
        return context, teacher_training(context, part, network, folder)
    made = [Teacher(network, folder, {}, context, part) for part, network in pairs]
    assert context.run_spec.recipe.student is not None
    return context, student_training(context, context.run_spec.recipe.student, made, folder)


def outcome(case: str, processes: Processes, folder: Path) -> dict[str, Any]:
    """What a training says at every step and epoch, and what its network predicts at the end."""
    context, training = training_of(case, processes, folder)
    steps: list[Any] = []
    forward = training.forward

    def watched(*given: Any) -> Any:
        answer = forward(*given)
        _, loss, values, answers = answer
        steps.append([loss.item(), *values.tolist(), *(value for _, its in answers for value in its.tolist())])
        return answer

    training.forward = watched  # type: ignore[method-assign]
    records = training.run()
    kept = ("loss", "terms", "weights", "grad_norms", "accuracy", "diagnostics", "validation", "peers")
    told = predict(training.network, training.loader, batch_size=7, accelerator=context.accelerator)
    return {
        "names": ["loss", *training.objective.names],
        "steps": steps,
        "epochs": [{key: record.get(key) for key in kept} for record in records],
        "predictions": told.logits.tolist(),
        "state": [float(value.double().sum()) for value in training.network.state_dict().values()],
    }


def main(rank: str, count: str, store: str, out: str, *cases: str) -> None:
    processes = Processes(int(rank), int(count))
    if processes.count > 1:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{store}",
            rank=processes.rank,
            world_size=processes.count,
            timeout=datetime.timedelta(seconds=60),
        )
    torch.set_num_threads(1)
    for number, case in enumerate(cases or CASES):
        folder = Path(out) / f"{count}-{rank}-{number}"
        folder.mkdir(parents=True)
        made = outcome(case, processes, folder)
        (folder / "outcome.json").write_text(json.dumps(made))
    if processes.count > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
