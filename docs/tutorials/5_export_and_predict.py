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
# # Export, and predict
#
# A student leaves the bench: it becomes a folder, and that folder says of a new recording what is done in it. A cell that
# begins with `%%sh` holds commands of the shell.
#
# ## A student
#
#     kdbench run --method student_only_sensor --dataset motionsim --preset smoke --set student.train.epochs=20
#
# It sees the accelerometer at the wrist of `motionsim`, which kdbench generates: six actions, at sizes that train in
# seconds. Students of video are exported in the same way.

# %%
import kdbench

WORLD = {"actions": 6, "subjects": 4, "trials": 4}
SMALLER = {"data.options": WORLD, "student.train.epochs": 20}
run = kdbench.run("student_only_sensor", "motionsim", preset="smoke", overrides=SMALLER, progress=False)
run

# %% [markdown]
# ## Export it
#
#     kdbench export student_only_sensor --to exported --causal
#
# The network is written with its preprocessing, then asked for every test trial. Where a logit differs from the run's by
# more than 1e-4, there is no export. `--causal` also measures what a window of a stream costs in
# accuracy, where training saw whole recordings.

# %%
from pathlib import Path

made = kdbench.export_run(run.folder, to=Path("exported"), causal=True)
parity = made.export.parity
print(parity.trials, "trials, every class the same:", parity.argmax_equal)
for path in sorted(made.folder.iterdir()):
    print(f"{path.stat().st_size:>9,} bytes  {path}")

# %% [markdown]
# ## A new recording
#
# Another seed makes other people: neither training nor test has seen this one, who waves. The file is what a sensor
# writes, a row a sample.

# %%
import matplotlib.pyplot as plt
import numpy as np

from kdbench.data.card import load_card
from kdbench.data.readers.motionsim.reader import MotionSim

others = MotionSim(load_card("motionsim"), options={**WORLD, "seed": 1})
trials = {trial.id: trial for trial in others.trials()}
wave, clap = (others.read(trials[name], None, 0).series["accelerometer"] for name in ("a5_s1_t1", "a6_s1_t1"))
for name, samples in (("wave", wave), ("clap", clap), ("both", np.concatenate([wave, clap]))):
    times = np.arange(len(samples)) / 50
    np.savetxt(f"{name}.csv", np.column_stack([times, samples]), "%.4f", ",", header="s,x,y,z", comments="")

print(*Path("wave.csv").read_text().splitlines()[:3], sep="\n")
figure, axes = plt.subplots(figsize=(8, 2))
axes.plot(np.arange(len(wave)) / 50, wave, label=["x", "y", "z"])
axes.set(xlabel="seconds", ylabel="g")
axes.legend()
plt.show()

# %% [markdown]
# ## Load it and ask it
#
# These five lines need neither torch nor the recordings that it was trained on; `pip install '.[predict]'` is
# enough.

# %%
import kdbench

student = kdbench.load_student("exported")
print(student)
said = student.predict("wave.csv")
print(said.label, round(said.confidence, 2))

# %% [markdown]
# The same from the shell, for as many files as there are:

# %% language="sh"
# kdbench predict exported wave.csv clap.csv --top 2

# %% [markdown]
# ## What it notices
#
# The student knows its units. Given m/s² in the place of g it answers, with a warning; another rate it refuses.

# %%
from kdbench.errors import DataError

print(*student.predict(9.81 * wave).notes)
try:
    student.predict(wave, rate_hz=100)
except DataError as error:
    print(error.message)

# %% [markdown]
# ## The model card
#
# `model_card.md` goes wherever the student goes: what it was trained on, how well it does and for whom, what it costs,
# and where it ends.

# %%
print((made.folder / "model_card.md").read_text())

# %% [markdown]
# ## A stream
#
# A stream has no beginning and no end: windows slide over what comes in, and nothing knows the future. Here somebody
# waves, and then claps.

# %% language="sh"
# kdbench stream exported --input both.csv --report report

# %% [markdown]
# The report has a row for each window in `windows.csv`, and a picture:

# %%
from IPython.display import Image

Image("report/timeline.png")

# %% [markdown]
# In between a window holds some of both, and the average takes a moment to follow. Students of colour video take a
# camera too: `--input 0`.
#
# [A student that leaves the house](../export.md) has the rest: 8 bits, what it costs not to know the future, and formats.
