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
# # Recordings of one's own
#
# From a folder of recordings to a trained student, without a line of Python for the data: a phone was moved, a camera
# looked on. A cell that begins with `%%sh` holds commands of the shell.
#
# ## The recordings
#
#     python examples/make_recordings.py kitchen
#
# The example makes twelve recordings of three people who wave and clap, twice each: what a phone's app writes, and a
# film. They are of no real person, and of one of them the phone's file is lost, as happens.

# %%
import subprocess
import sys
from pathlib import Path

import kdbench

EXAMPLE = Path(kdbench.__file__).parents[1] / "examples/make_recordings.py"
subprocess.run([sys.executable, EXAMPLE, "kitchen"], check=True)

for path in sorted(Path("kitchen/ben").iterdir()):
    print(f"{path.stat().st_size:>7,} bytes  {path}")
print(*Path("kitchen/ben/wave_1.csv").read_text().splitlines()[:3], sep="\n")

# %% [markdown]
# ## A card for them
#
# `kdbench data init` looks at the names of the files and into some of them: who, what, which sensor, how fast. What it
# finds goes into `kitchen/card.yaml`. Where it is not sure it asks.

# %% language="sh"
# kdbench data init kitchen 2> progress.txt

# %% [markdown]
# The card is a text to be read and mended. Whatever it guessed wrongly, the unit above all, is one word in it.

# %%
print(Path("kitchen/card.yaml").read_text())

# %% [markdown]
# ## Look at them
#
# Frames over the curves of the same trial. Where the spot turns, the curve has to turn: if the two do not move together,
# they are not of one recording, or not of one time.

# %%
from IPython.display import Image

Image("kitchen/preview.png")

# %% [markdown]
# ## Who has what

# %% language="sh"
# kdbench data who kitchen/card.yaml

# %% [markdown]
# Ben has one film without samples. It need not be thrown away: a student that sees the film learns from its label, and
# the teacher, who sees the phone, is not asked about it.
#
# ## Check them
#
#     kdbench check kitchen/card.yaml
#
# Can every file be read? Are the recordings what the card says? Does nobody stand on both sides of a split?

# %%
from kdbench.testing import check

for result in check("dataset", "kitchen/card.yaml").results:
    print(f"{result.outcome:<8} {result.name}")

# %% [markdown]
# ## Train a student
#
#     kdbench run --method student_only --dataset kitchen/card.yaml --preset smoke --set student.train.epochs=20
#
# From here on everything is as with any other data set; its name is the path of the card. `cross_subject` is the first
# protocol of the card: Anna and Ben train, Cleo tests.

# %%
LONGER = {"student.train.epochs": 20}
kdbench.run("student_only", "kitchen/card.yaml", preset="smoke", overrides=LONGER)

# %% [markdown]
# ## With a teacher
#
#     kdbench run --method kd --teacher raw --dataset kitchen/card.yaml --preset smoke \
#         --set student.train.epochs=20 --set teacher.train.epochs=20

# %%
LONGER = {"student.train.epochs": 20, "teacher.train.epochs": 20}
taught = kdbench.run("kd", "kitchen/card.yaml", teacher="raw", preset="smoke", overrides=LONGER, progress=False)
print(taught.result["trials"])
kdbench.compare()

# %% [markdown]
# Eight trials train, and seven of them are pairs: the lost file is counted, not hidden.
#
# Cleo's four trials rank nothing. One more of them right is 25 points, and the interval says so. Record more people
# first: what a table says of new people depends on how many there are, see [statistics](../statistics.md).
#
# [One's own recordings](../own-data.md) has all that a card can say: time stamps, units, long recordings that are cut by
# annotations. Next: [read a comparison](4_read_a_comparison.md), or [take the student away](5_export_and_predict.md).
