"""How student and teacher arrange the trials: their embeddings in two dimensions, side by side, and in numbers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from kdbench.evaluation.predict import embed
from kdbench.explanation.reopen import Opened
from kdbench.explanation.section import NotShown, Section
from kdbench.explanation.study import Study
from kdbench.plotting.embeddings import draw_embeddings
from kdbench.plotting.style import CaptionedFile
from kdbench.util.seeds import seed_for

PERPLEXITY = 30


def embeddings(study: Study) -> Section:
    """Draws t-SNE of the embeddings, UMAP too where it is installed, and says how far the classes are apart."""
    notes = [
        "Each point is a trial of the reported part, its colour and number the class. t-SNE keeps neighbours, not "
        "distances or densities: only which trials lie together may be read from it."
    ]
    shown = {opened.role: _embeddings(study, opened) for opened in _networks(study, notes)}
    section = Section(notes, numbers={role: _numbers(values, study.scores.labels) for role, values in shown.items()})
    apart = [
        f"{role} {measures['silhouette']:+z.2f}" for role, measures in section.numbers.items() if measures["silhouette"]
    ]
    if apart:
        notes.append(
            "How far the classes are apart in the embedding itself, by the silhouette, which is 1 where they are and "
            f"below 0 where they mix: {', '.join(apart)}."
        )
    if len(shown) == 2:
        alike = section.numbers["linear_cka"] = linear_cka(*shown.values())
        notes.append(f"Linear CKA of the two, which is 1 where they are equal up to rotation and scale: {alike:.2f}.")
    section.pictures.append(_draw(study, shown, "t-SNE", _tsne))
    if importlib.util.find_spec("umap") is not None:
        section.pictures.append(_draw(study, shown, "UMAP", _umap))
    else:
        section.notes.append(
            "UMAP is not installed: pip install umap-learn, and repeat with --only embeddings --fresh."
        )
    return section


def _networks(study: Study, notes: list[str]) -> list[Opened]:
    """The reported network, and its teacher; where that cannot be had, the notes say why."""
    networks = [study.reported]
    if study.reported.role != "student":
        return networks
    try:
        teacher = study.teacher
    except NotShown as error:
        notes.append(str(error))
        return networks
    if teacher is None:
        notes.append("The student was trained without a teacher.")
        return networks
    return [*networks, teacher]


def _embeddings(study: Study, opened: Opened) -> np.ndarray:
    """Embeddings `(N, D)` in the order of the scores; those of several branches one after another."""
    loader, accelerator = study.loader(opened), study.context.accelerator
    batch_size = opened.spec.train.batch_size
    rows = embed(opened.network, loader, batch_size=batch_size, accelerator=accelerator, shuffled=False)[0]
    place = {trial: row for row, trial in enumerate(loader.trials)}
    return rows[[place[trial] for trial in study.scores.trials]]


def _numbers(values: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import silhouette_score

    possible = 2 <= len(np.unique(labels)) < len(labels)
    return {"width": values.shape[1], "silhouette": float(silhouette_score(values, labels)) if possible else None}


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment of two embeddings of the same trials (Kornblith et al., ICML 2019, eq. 3).

    Args:
        first: `(N, D₁)`.
        second: `(N, D₂)`.

    Returns:
        In [0, 1]; 0 where one of them is constant.
    """
    a, b = (values.astype(np.float64) - values.mean(0) for values in (first, second))
    size = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / size) if size > 0 else 0.0


def _tsne(values: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    # t-SNE looks at three times as many neighbours as the perplexity says.
    perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
    return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(values)


def _umap(values: np.ndarray, seed: int) -> np.ndarray:
    umap = importlib.import_module("umap")
    # With a seed UMAP takes one thread in any case, and warns unless that is asked for.
    return umap.UMAP(random_state=seed, n_jobs=1).fit_transform(values)


def _draw(
    study: Study, shown: dict[str, np.ndarray], name: str, layout: Callable[[np.ndarray, int], np.ndarray]
) -> CaptionedFile:
    points = {role: layout(values, seed_for("explanation", name, role) % 2**32) for role, values in shown.items()}
    wrong = study.scores.predicted != study.scores.labels
    file = f"embeddings_{name.lower().replace('-', '')}.png"
    draw_embeddings(
        points, study.scores.labels, study.card.short_names, study.folder / file, name, {study.reported.role: wrong}
    )
    return CaptionedFile(file, f"{name} of the embeddings of {' and '.join(shown)}, on the same trials.")
