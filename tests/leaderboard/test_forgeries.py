"""Submissions that somebody made up who knows the format: hashes, id and folder fit, and what they say is not true.

Each is refused by name. What no check of files can tell stands in `UNSEEN`, and in the submissions' README.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import board_runs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_board_verify import forge

from kdbench.evaluation.metrics import over_shuffles
from kdbench.leaderboard.add import add
from kdbench.leaderboard.check import check
from kdbench.leaderboard.entry import content_sha256, found, load
from kdbench.leaderboard.predictions import read_predictions
from kdbench.leaderboard.tier import Tier
from kdbench.leaderboard.verify import verify

Forgery = Callable[[Path], Path]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with four honest submissions."""
    root = tmp_path_factory.mktemp("honest")
    for place, method in enumerate(("kd", "rkd", "student_only", "kd_wrong_trials")):
        add(board_runs.runs(root / str(place), method, base=method), root / "leaderboard")
    return root / "leaderboard"


def of(board: Path, method: str) -> Path:
    (folder,) = (path for path in found(board) if path.parent.name == method)
    return folder


def predictions(folder: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Path:
    """Other predictions, with the metrics that follow from them."""
    held = read_predictions(folder, 27)
    columns = change({name: getattr(held, name) for name in ("seed", "trial", "label", "shuffle", "logits")})
    logits = columns.pop("logits")
    values = pa.ListArray.from_arrays(np.arange(len(logits) + 1, dtype=np.int32) * 27, pa.array(logits.ravel()))
    table = pa.table({name: pa.array(value) for name, value in columns.items()}).append_column("logits", values)
    pq.write_table(table, folder / "predictions.parquet")

    def edit(result: dict[str, Any]) -> None:
        for each in result["seeds"]:
            rows = columns["seed"] == each["seed"]
            order = np.lexsort((columns["trial"][rows], columns["shuffle"][rows]))
            shuffles = len(np.unique(columns["shuffle"][rows]))
            scores = logits[rows][order].reshape(shuffles, -1, 27)
            labels = columns["label"][rows][order][: scores.shape[1]]
            each["metrics"] = {"shuffles": 1, **over_shuffles(scores, labels, result["classes"])}

    return forge(folder, edit)


def result(edit: Callable[[dict[str, Any]], object]) -> Forgery:
    return lambda folder: forge(folder, lambda content: (edit(content), None)[1])


def conditions(**values: Any) -> Forgery:
    return result(lambda content: content["conditions"].update(values))


def claims(seed: int = 0, **values: Any) -> Forgery:
    return result(lambda content: content["seeds"][seed]["claims"].update(values))


def cost(**values: Any) -> Forgery:
    return result(lambda content: content["seeds"][0]["claims"]["cost"].update(values))


def recipe(edit: Callable[[dict[str, Any]], object]) -> Forgery:
    import yaml

    def make(folder: Path) -> Path:
        path = folder / "recipe.yaml"
        content = yaml.safe_load(path.read_text())
        edit(content)
        path.write_text(yaml.safe_dump(content))
        return forge(folder)

    return make


def environment(edit: Callable[[list[dict[str, Any]]], object]) -> Forgery:
    def make(folder: Path) -> Path:
        path = folder / "environment.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        return forge(folder)

    return make


def one_run_as(change: Callable[[np.ndarray], np.ndarray]) -> Forgery:
    """Seed 0's logits as those of every seed, changed a little."""

    def copied(held: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        first = held["logits"][held["seed"] == 0]
        logits = held["logits"].copy()
        for seed in (1, 2):
            logits[held["seed"] == seed] = change(first)
        return held | {"logits": logits.astype(np.float32)}

    return lambda folder: predictions(folder, copied)


def in_orders(count: int) -> Forgery:
    def repeated(held: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        many = {name: np.concatenate([value] * count) for name, value in held.items()}
        return many | {"shuffle": np.repeat(np.arange(count), len(held["seed"]))}

    return lambda folder: predictions(folder, repeated)


def option(path: str, value: Any) -> Forgery:
    """A parameter of a part of the recipe, and the same in the conditions where they hold it."""
    *above, last = path.split(".")

    def edit(content: dict[str, Any]) -> None:
        for name in above:
            content = content.setdefault(name, {})
        content[last] = value

    def make(folder: Path) -> Path:
        folder = recipe(edit)(folder)
        if above[0] == "student" and above[1] in {"encoder", "representation", "fusion", "train"}:
            folder = result(lambda content: content["conditions"][above[1]].update({last: value}))(folder)
        return folder

    return make


def plugin(**values: Any) -> dict[str, Any]:
    return {"kind": "loss", "name": "mine", "distribution": "mine", "version": "1", "source_sha256": None, **values}


def searched(space: dict[str, Any], best: dict[str, Any], train: dict[str, Any]) -> Forgery:
    """What says that a search chose its settings."""
    budget = {"trials": 30, "sampler": "tpe"}
    record = {"budget": budget, "study": "mine", "space": space, "best": best}

    def make(folder: Path) -> Path:
        folder = recipe(lambda content: content.update(tuning=record))(folder)
        return result(
            lambda content: (
                content["conditions"].update(tuning=budget),
                content["conditions"]["train"].update(train),
            )
        )(folder)

    return make


def record(**values: Any) -> Forgery:
    """A record of a training again."""

    def make(folder: Path) -> Path:
        entry = load(folder)
        seeds = {str(each.seed): {"then": each.metrics.accuracy, "now": 0.8, "same": 1} for each in entry.result.seeds}
        held = {
            "schema_version": 2,
            "id": entry.result.id,
            "content_sha256": content_sha256(json.loads((folder / "result.json").read_text())),
            "by": "Ada",
            "tolerance": 0.1,
            "seeds": seeds,
            "environment": json.loads((folder / "environment.json").read_text())[0],
            "started": "2026-11-20T08:00:00Z",
            "date": "2026-11-21",
        }
        (folder / "verification.json").write_text(json.dumps(held | values))
        return folder

    return make


FORGERIES: dict[str, tuple[Forgery, str]] = {
    # Metrics
    "a better accuracy": (
        result(lambda c: c["seeds"][0]["metrics"].update(accuracy=0.99)),
        "accuracy is 0.99000000, and the predictions give",
    ),
    "a better calibration": (result(lambda c: c["seeds"][2]["metrics"].update(ece=0.0)), "seed 2: ece is 0.00000000"),
    "fewer test trials": (result(lambda c: c["seeds"][0]["metrics"].update(n=429)), "n is 429, and the predictions"),
    "a recall of its own": (
        result(lambda c: c["seeds"][0]["metrics"]["per_class_recall"].update({"draw triangle": 0.123})),
        "the recall of 'draw triangle' is 0.123",
    ),
    "metrics of another seed": (
        result(lambda c: c["seeds"][0].update(metrics=c["seeds"][1]["metrics"])),
        "seed 0: accuracy is",
    ),
    # Seeds
    "one run as three seeds": (one_run_as(lambda logits: logits), "seeds 0 and 1 have the same predictions"),
    "one run, scaled": (one_run_as(lambda logits: 1.5 * logits + 3), "seeds 0 and 2 have the same predictions"),
    "one run, with noise": (
        one_run_as(lambda logits: logits + np.random.default_rng(0).normal(scale=0.05, size=logits.shape)),
        "seeds 0 and 1 have the same predictions",
    ),
    "a seed left out": (result(lambda c: c["seeds"].pop(1)), "seed 1 is missing"),
    "a seed twice": (result(lambda c: c["seeds"].append(c["seeds"][0])), "one run cannot be two seeds"),
    "a seed without predictions": (
        lambda folder: _without_last_seed(folder),
        "seed 2: predictions.parquet has no prediction of it",
    ),
    # Shuffles
    "five orders": (in_orders(5), "the test part was seen in 5 orders (0, 1, 2 and 2 more), expected 1"),
    "a hundred orders": (in_orders(100), "was seen in 100 orders"),
    "claimed orders": (result(lambda c: c["seeds"][0]["metrics"].update(shuffles=5)), "shuffles is 5, and the"),
    # Environment
    "a seed on a GPU": (
        environment(lambda e: e[1].update(device="cuda:0", gpu="NVIDIA H100")),
        "seed 0 ran on the device cpu and seed 1 on the device cuda",
    ),
    "seeds on other threads": (
        environment(lambda e: e[2].update(threads=8)),
        "seed 0 ran with the number of threads 1 and seed 2 with the number of threads 8",
    ),
    "another device than its conditions": (conditions(device="cuda"), "ran on the device cpu, and its conditions say"),
    "other threads than its conditions": (conditions(threads=4), "the number of threads 1, and its conditions say 4"),
    "other libraries": (environment(lambda e: e[0]["libraries"].update(torch="9.9")), "ran with other libraries"),
    "an environment too few": (environment(lambda e: e.pop()), "has not one entry for each seed"),
    # Conditions
    "a condition of its own": (conditions(league="mine"), "its conditions hold 'league', which no run writes"),
    "another version of the data": (conditions(version="2016"), "say version '2016' of the data set, and the card"),
    "a fingerprint of its own": (conditions(fingerprint="mine"), "the data the fingerprint 'mine'"),
    "a view that is not there": (conditions(view="lidar", test_modalities=["video:lidar"]), "it sees the view 'lidar'"),
    "a preset of its own": (
        result(lambda c: (c.update(preset="large"), c["conditions"].update(preset="large"))),
        "its preset is 'large'",
    ),
    "another split": (conditions(split="0" * 10), "its trials were split otherwise than the card says"),
    "fewer epochs in its conditions": (
        result(lambda c: c["conditions"]["train"].update(epochs=1)),
        "disagree on 'train'",
    ),
    "a searched setting without a search": (
        result(lambda c: c["conditions"]["train"].update(epochs="searched")),
        "disagree on 'train'",
    ),
    "a searched setting that was not searched": (
        searched({"student.train.lr": {"low": 0.1}}, {}, {"epochs": "searched"}),
        "disagree on 'train'",
    ),
    "settings that its search did not choose": (
        searched({"student.train.lr": {"low": 0.1}}, {"student.train.lr": 0.7}, {}),
        "its search chose student.train.lr = 0.7, and recipe.yaml has",
    ),
    "a choice outside its search": (searched({}, {"student.train.lr": 0.1}, {}), "which is not in what it searched"),
    "the best epoch on the test part": (conditions(selection="best-test"), "its epochs were chosen by 'best-test'"),
    "weights of its own": (conditions(weights="a" * 64), "its conditions hash a file of weights of its own"),
    # Recipe
    "a network without its name": (option("student.encoder.name", "mine:net"), "names the encoder 'mine:net'"),
    "a loss that nobody ships": (option("student.losses.mine", {"weight": 1.0}), "names the loss 'mine'"),
    "a stranger's language model": (
        option("semantics.model", "stranger/model"),
        "semantics.model = 'stranger/model', expected bert-base-uncased",
    ),
    "a hub's network": (option("student.encoder.name", "timm:hf-hub:stranger/model"), "names the encoder 'timm:hf-hub"),
    "a file of weights": (
        option("student.encoder.weights", "best.safetensors"),
        "encoder.weights = 'best.safe",
    ),
    "an address": (option("student.losses.ce.source", "https://x.example/y"), "a file or an address"),
    "code that a model brings": (option("semantics.trust_remote_code", True), "semantics.trust_remote_code = 'True'"),
    # Plugins
    "a plugin that it does not use": (
        result(lambda c: c.update(plugins=[plugin()])),
        "it lists the plugin of the loss 'mine', which its recipe does not use",
    ),
    "conditions with a plugin that is not listed": (
        conditions(plugins=[plugin()]),
        "name plugins that it does not list",
    ),
    "a plugin from nowhere": (
        result(lambda c: c.update(plugins=[plugin(name="ce", distribution="../mine")])),
        "which is the name of no distribution",
    ),
    # Claims
    "no teacher": (claims(teacher=None), "it says nothing of its teacher"),
    "the learning curve of a longer training": (
        result(lambda c: c["seeds"][0]["claims"]["curves"].append({"phase": "student", "epoch": 500, "loss": 0.1})),
        "is said to have learnt for 500 epochs",
    ),
    "a learning curve out of order": (
        result(lambda c: c["seeds"][0]["claims"]["curves"].reverse()),
        "learning curve are out of order",
    ),
    "an epoch that is not the last": (claims(best_epoch=3), "it reports epoch 3, and its rule is to report the last"),
    "a smaller network at one seed": (cost(parameters=1000), "its seeds claim 1000 and 452891 parameters"),
    "cheaper than nothing": (cost(train_seconds=-1), "cost.train_seconds = -1"),
    # Records of a training again
    "a record of another submission": (record(id="0" * 12), "belongs to the submission '000000000000'"),
    "a record of another content": (record(content_sha256="0" * 64), "with another content than this one's"),
    "a record of nobody": (record(by=""), "by = ''"),
    "a record of tomorrow": (record(date="2126-01-01"), "has a date that cannot be"),
    "a record that ends before it begins": (record(date="2026-11-01"), "has a date that cannot be"),
    "a record of one seed": (
        record(seeds={"0": {"then": 0.8, "now": 0.8, "same": 1}}),
        "does not cover every seed within its tolerance",
    ),
    "a record that accepts everything": (record(tolerance=1), "tolerance = 1"),
}


def _without_last_seed(folder: Path) -> Path:
    path = folder / "predictions.parquet"
    pq.write_table(pq.read_table(path).slice(0, 2 * 430), path)
    return forge(folder)


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_by_name(honest: Path, tmp_path: Path, name: str) -> None:
    board = Path(shutil.copytree(honest, tmp_path / "leaderboard"))
    make, said = FORGERIES[name]
    held = check(make(of(board, "kd")))
    assert any(said in problem for problem in held.problems), held.problems
    assert held.tier is not Tier.RERUN


def test_a_comment_makes_no_other_cell(honest: Path, tmp_path: Path) -> None:
    board = Path(shutil.copytree(honest, tmp_path / "leaderboard"))
    for change in (
        lambda text: f"# another\n{text}",
        lambda text: text.replace("summary: Soft targets", "summary: Soft targets again"),
    ):
        twin = Path(shutil.copytree(of(honest, "kd"), of(board, "kd").with_name("twin")))
        (twin / "recipe.yaml").write_text(change((twin / "recipe.yaml").read_text()))
        twin = forge(twin)
        wrong = [held for held in verify(found(board)) if held.problems]
        assert len(wrong) == 2
        assert all(any("claims the same" in problem for problem in held.problems) for held in wrong)
        shutil.rmtree(twin)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_another_methods_predictions_are_named_on_both(honest: Path, tmp_path: Path, noise: float) -> None:
    board = Path(shutil.copytree(honest, tmp_path / "leaderboard"))
    taken = read_predictions(of(board, "kd"), 27)
    draw = np.random.default_rng(0).normal(scale=noise, size=taken.logits.shape)
    predictions(of(board, "rkd"), lambda held: held | {"logits": (taken.logits + draw).astype(np.float32)})
    wrong = {held.folder.parent.name: held.problems for held in verify(found(board)) if held.problems}
    assert set(wrong) == {"kd", "rkd"}
    assert all("has the predictions of seed 0 of" in problems[0] for problems in wrong.values())


def test_what_makes_a_control_is_in_its_recipe(honest: Path) -> None:
    entry = load(of(honest, "kd_wrong_trials"))
    assert entry.recipe.controls == ("wrong_trials",)


UNSEEN: dict[str, Forgery] = {
    "answers instead of predictions": lambda folder: predictions(
        folder,
        lambda held: (
            held
            | {
                "logits": (
                    9 * np.eye(27)[held["label"]] + np.random.default_rng(1).normal(size=held["logits"].shape)
                ).astype(np.float32)
            }
        ),
    ),
    "a better teacher": result(
        lambda c: [each["claims"]["teacher"].update(accuracy=0.999) for each in c["seeds"]],
    ),
    "a faster training": result(lambda c: [each["claims"]["cost"].update(train_seconds=1.0) for each in c["seeds"]]),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_only_a_training_again_can_tell_never_gets_the_highest_tier(
    honest: Path, tmp_path: Path, name: str
) -> None:
    board = Path(shutil.copytree(honest, tmp_path / "leaderboard"))
    held = check(UNSEEN[name](of(board, "kd")))
    assert held.problems == ()
    assert held.tier is Tier.RESCORED
