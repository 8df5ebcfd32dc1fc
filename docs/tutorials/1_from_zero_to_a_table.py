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
# # From zero to a table
#
# Two methods, one table, and a look at what a run leaves behind. Nothing is downloaded: `motionsim` is a data set that
# kdbench generates, a moving figure that a depth camera sees and a sensor on the wrist feels.
#
# Every cell does what a command does; the command stands above it.

# %%
import kdbench

WORLD = {"data.options": {"actions": 6, "subjects": 4, "trials": 4}}

# %% [markdown]
# ## A student alone
#
#     kdbench run --method student_only --dataset motionsim --preset smoke
#
# `student_only` is the row that everything is compared with: a video network that learns from the labels, without a
# teacher. The preset `smoke` is so small that it trains in seconds; its numbers mean nothing. `WORLD` makes the generated
# data smaller still, which on the command line is `--set 'data.options={actions: 6, subjects: 4, trials: 4}'`.

# %%
SMOKE = {"preset": "smoke", "overrides": WORLD}
alone = kdbench.run("student_only", "motionsim", **SMOKE)
alone

# %% [markdown]
# ## A student with a teacher
#
#     kdbench run --method kd --teacher raw --dataset motionsim --preset smoke
#
# Two trainings now: first the teacher on the series of the sensors, then the student, which follows the labels and the
# softened class scores of the teacher.

# %%
taught = kdbench.run("kd", "motionsim", teacher="raw", **SMOKE)
taught

# %% [markdown]
# ## The table
#
#     kdbench compare

# %%
kdbench.compare()

# %% [markdown]
# The gain is that of `kd` over the student alone, at the same seed and on the same trials. *No gain shown* means that
# the data do not tell the two apart. [Read a comparison](4_read_a_comparison.md) goes through the columns.
#
# ## What a run leaves behind
#
# Each run has a folder. Nothing in it is a pickle; everything can be read with other tools.

# %%
for path in sorted(taught.folder.glob("[!.]*")):
    print(f"{path.stat().st_size:>9,} bytes  {path.name}")

# %% [markdown]
# The predictions of every test trial are there, so that each number can be computed again:

# %%
table = taught.predictions()
logits = [column for column in table if column.startswith("logit")]
right = table[logits].to_numpy().argmax(1) == table["label"].to_numpy()
said = taught.metrics["accuracy"]
print(f"{len(table)} trials, {100 * right.mean():.2f} % right; run.json says {100 * said:.2f} %")

# %% [markdown]
# ## Again
#
# A finished run is not repeated: the same call gives the same result at once.

# %%
again = kdbench.run("kd", "motionsim", teacher="raw", **SMOKE, progress=False)
print(again.reused, again.folder == taught.folder)

# %% [markdown]
# Next: [a loss of one's own](2_a_loss_of_ones_own.md).
