# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A loss of one's own
#
# A loss is a function of two tensors, or a module. This tutorial writes one with a mistake in it, sees it fail a check,
# mends it, and trains with it beside a loss that others wrote.
#
# ## Write it
#
# The student's pooled features shall point where the teacher's point. `on="embedding"` says which of the networks'
# features the function gets; where their widths differ, kdbench puts a learnt linear layer on the student's side. A
# loss lives in a file, since a result names the source of every plugin with its hash: a run with another version of the
# loss is another run.

# %%
import textwrap
from pathlib import Path

import kdbench
from kdbench.testing import check

SOURCE = '''
import torch.nn.functional as F
from kdbench import loss


@loss("cosine", on="embedding")
def cosine(student, teacher):
    """Cosine distance of pooled features, (B, D) each."""
    return 1 - F.cosine_similarity(student.detach(), teacher).mean()
'''
Path("cosine_kd.py").write_text(SOURCE)
(part,) = kdbench.load_plugin("cosine_kd.py")
print(part.kind, part.name)

# %% [markdown]
# ## Check it
#
#     kdbench check cosine --plugin cosine_kd.py
#
# The mistake is `.detach()`. The loss has a value and goes into the sum, training runs, and the student learns nothing from
# it. Losses like this have been published. The conformance checks find it before any training:

# %%
report = check("loss", "cosine")
for result in report.results:
    if result.outcome == "failed":
        print(textwrap.fill(f"{result.name}: {result.message}", 84))

# %% [markdown]
# ## Mend it

# %%
Path("cosine_kd.py").write_text(SOURCE.replace("student.detach()", "student"))
(part,) = kdbench.load_plugin("cosine_kd.py")
report = check("loss", "cosine")
print(report.passed, "·", len(report.results), "checks")

# %% [markdown]
# ## Train with it
#
#     kdbench run --method kd --teacher raw --dataset motionsim --preset smoke \
#         --set student.losses.cosine.weight=1 --plugin cosine_kd.py
#
# The method `kd` brings the labels and the soft targets; `overrides` adds the new loss to them. `motionsim` is generated,
# and the preset `smoke` trains in seconds; its numbers mean nothing.

# %%
WORLD = {"data.options": {"actions": 6, "subjects": 4, "trials": 4}}
COSINE = {**WORLD, "student.losses.cosine.weight": 1.0}
SMOKE = {"preset": "smoke", "progress": False}

for method, overrides in (("student_only", WORLD), ("kd", WORLD), ("kd", COSINE)):
    kdbench.run(method, "motionsim", overrides=overrides, **SMOKE)
kdbench.compare()

# %% [markdown]
# ## Does it do anything?
#
# Every epoch logs the value of each term, and some ten of a long training the norm of its gradient on the student. A term
# whose gradient is a hundredth of the others' does next to nothing at this weight; one that is a hundred times theirs
# drowns them.

# %%
import json

run = kdbench.run("kd", "motionsim", overrides=COSINE, **SMOKE)
for line in (run.folder / "metrics.jsonl").read_text().splitlines():
    record = json.loads(line)
    if record["phase"] == "student":
        norms = {name: f"{norm:.3f}" for name, norm in record["grad_norms"].items()}
        print("epoch", record["epoch"], norms)

# %% [markdown]
# `kdbench search` looks for a better weight on a validation part: [search settings](../tune.md). To share the loss,
# package it: [a loss of your own](../own-loss.md#share-it).
