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
# # Read a comparison
#
# Three methods, one of them a control, at two seeds: what does the table claim, and what does it not?
#
#     kdbench run --method student_only --method kd --dataset motionsim --preset smoke --seeds 2
#
# `raw_random` is a teacher with random weights that is never trained. Nothing can be learnt from it. If `kd` gains as much
# from it as from a real teacher, then what helps is smoother targets, not knowledge.

# %%
import kdbench

WORLD = {"data.options": {"actions": 6, "subjects": 4, "trials": 4}}
ROWS = (("student_only", None), ("kd", "raw"), ("kd", "raw_random"))
SMOKE = {"preset": "smoke", "overrides": WORLD, "progress": False}

for method, teacher in ROWS:
    for seed in (0, 1):
        kdbench.run(method, "motionsim", teacher=teacher, seed=seed, **SMOKE)
comparison = kdbench.compare()
comparison

# %% [markdown]
# ## The title
#
# It names what all rows have in common: data set, protocol, preset. Runs under other conditions would stand in another
# table, and `compare` would say how the two differ. It never ranks across them.
#
# ## The columns
#
# | column | what it claims |
# |---|---|
# | Accuracy % [95 % CI] | the mean over seeds, and where the mean over further trials of *these* subjects and further seeds would lie |
# | SD | how much the seeds differ, as a sample standard deviation |
# | Gain, points | the difference from the student alone, by trial and seed. Its interval is shorter than two single ones, since both saw the same trials |
# | Verdict | a test of that gain, after Holm's correction for the number of tests |
#
# The same as a data frame, for one's own pictures; shares lie between 0 and 1:

# %%
comparison.methods[["method", "accuracy", "gain", "gain_low", "gain_high", "verdict"]]

# %% [markdown]
# ## Whom it is about
#
# The intervals above hold for these subjects. What of other people? That is another question, with a wider answer: with
# two test subjects it cannot be answered at all, and kdbench says so instead of printing a number.

# %%
from kdbench.errors import UsageError

try:
    kdbench.compare(population="new-subjects")
except UsageError as error:
    print(error.message)

# %% [markdown]
# ## What would tell two rows apart
#
#     kdbench compare --show tests
#
# "No gain shown" is not "there is no gain". The tests say what a second study would need.

# %%
from kdbench.comparison.text_tables import text_tables

for tests in text_tables(comparison, {"tests"}):
    for cells in tests.rows:
        print(" · ".join(cells))

# %% [markdown]
# ## Keep it
#
# `save` writes the tables as text, CSV, JSON, LaTeX and HTML, with their pictures.

# %%
for path in comparison.save("figures"):
    print(path)

# %% [markdown]
# [Statistics, explained](../statistics.md) says where the numbers come from; [results](../results.md) has a comparison on
# real recordings, in which the best row is a control.
