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

_TRAIN = "train={epochs: 1, batch_size: 7, lr: 1.0e-3, optimizer: sgd}"
_NOISE = "augment={noise: 0.05, scale: 0.1, time_shift: 0.1}"
_SERIES = [f"student.{_TRAIN}", f"student.{_NOISE}", "student.encoder={norm: batch, dropout: 0.3}"]
# The background of a generated video is one number: a ReLU that it lies at turns over for all of it at once.
_VIDEO = [f"student.{_TRAIN}", "student.train.lr=1e-4", "student.augment={rotate_deg: 8, shift: 0.1, scale: 0.1}"]
_OWN = [f"teacher.{_TRAIN}", "teacher.augment={noise: 0.05, scale: 0.1}"]
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
    "semantic_hint",
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
CASES: dict[str, tuple[str, str | None, Sequence[str]]] = {
    # Every loss that compares with a frozen teacher, and those of the student alone, in one objective.
    "zoo": (
        "kd_sensor",
        "raw_ft",
        [*_SERIES, "teacher.losses.se.weight=1", *(f"student.losses.{name}.weight=0.1" for name in _ZOO)],
    ),
    "ablated channel": ("sgm_ft", "raw_ft", [*_VIDEO, "student.losses.sgm.ablation=channel"]),
    "simkd": ("simkd", None, _VIDEO),
    "c2kd": ("c2kd", None, [*_VIDEO, "student.losses.dmcl.weight=1"]),
    "dot": ("kd_sensor", None, [*_SERIES, "student.train.optimizer=dot"]),
    "gradnorm": ("kd_sensor", None, [*_SERIES, "student.balance={name: gradnorm, every: 2}"]),
    "uncertainty": ("kd_sensor", None, [*_SERIES, "student.balance={name: uncertainty}"]),
    "checkpointing": ("sgm_ft", None, [*_VIDEO, "student.encoder.dropout=0.3", "student.train.checkpointing=true"]),
    "parts": ("kd_sensor", None, [*_SERIES, "student.train={batch_size: 14, accumulate: 2}"]),
    "adamw": ("kd_sensor", None, [*_SERIES, "student.train.optimizer=null"]),
    "few labels": ("kd_sensor", None, [*_SERIES, "track={labels: 1}"]),
    "best epoch": ("kd_sensor", None, [*_SERIES, "selection.rule=best-val", "student.train.epochs=2"]),
    "wrong trials": ("kd_wrong_trials_sensor", None, _SERIES),
    "gaf_ft": ("teacher_only", "gaf_ft", _OWN),
    "raw_sum": ("teacher_only", "raw_sum", _OWN),
    "raw_hadamard": ("teacher_only", "raw_hadamard", _OWN),
    "raw_concat": ("teacher_only", "raw_concat", [*_OWN, "teacher.encoder={norm: batch}"]),
    "keyless_style": ("teacher_only", "keyless_style", _OWN),
    "hamlet_style": ("teacher_only", "hamlet_style", [*_OWN, "teacher.fusion={dropout: 0.3, attention_dropout: 0.3}"]),
    "mumu_style": ("teacher_only", "mumu_style", [*_OWN, "teacher.fusion={dropout: 0.3, norm: batch}"]),
    "mcrl_style": ("teacher_only", "mcrl_style", _OWN[:1]),
    "sakdn": ("teacher_only", "sakdn", [*_OWN, "teacher.fusion={layers: [8], dropout: 0.3}"]),
    "transformer1d": ("teacher_only", "raw_transformer1d", [*_OWN, "teacher.drop_sources=0.4"]),
    "keyless": ("teacher_only", "keyless", [f"teacher.{_TRAIN}", "teacher.fusion.dropout=0.3"]),
    "actionmae": ("actionmae", None, _VIDEO),
}
"""Method, teacher and changes of each case; of `teacher_only`, the teacher is trained."""


def training_of(case: str, processes: Processes, folder: Path) -> tuple[RunContext, Training]:
    method, teacher, changes = CASES[case]
    request = RunRequest(
        method,
        "motionsim",
        preset="smoke",
        device="cpu",
        threads=1,
        overrides=[*WORLD, *changes],
        teacher=teacher,
    )
    context = dataclasses.replace(context_for(request, shown=False), processes=processes)
    pairs = untrained_networks(context)
    if method == "teacher_only":
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
        "state": [float(value.double().mean()) for value in training.network.state_dict().values()],
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
