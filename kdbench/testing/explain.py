"""What a component raised, in one line for the person who wrote it."""

from __future__ import annotations

import importlib.util
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from kdbench.errors import KdbenchError, Unavailable

LONGEST = 400
_DISTRIBUTIONS = {
    "cv2": "opencv-python",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Distributions that have another name than the module that they bring."""
_CHECKS = Path(__file__).parent
_COMPONENTS = {"losses", "encoders", "poolings", "fusions", "representations", "semantics", "data"}
_STANDARD = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
# Plugins are installed beside the libraries, and inside the folder of the standard library.
_INSTALLED = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
_LIBRARIES = {
    *("PIL", "_pytest", "accelerate", "av", "huggingface_hub", "numpy", "pandas", "pluggy", "pydantic", "pytest"),
    *("pyts", "safetensors", "scipy", "sklearn", "timm", "torch", "torchdistill", "torchvision", "transformers"),
    *("click", "rich", "typer", "yaml"),
}


def explained(error: BaseException) -> str:
    """Kind and text of an error, and the file and line of the component that raised it.

    An error that kdbench's own code wrote for the person who has to act is told without: see `place_within`.
    """
    text = _shortened(error.message if isinstance(error, KdbenchError) else str(error))
    kind = "" if isinstance(error, KdbenchError) else f"{type(error).__name__}: " if text else type(error).__name__
    place = "" if place_within(error) else place_of(error)
    hint = f"\n{error.hint}" if isinstance(error, KdbenchError) and error.hint else ""
    return f"{kind}{text}{f' ({place})' if place else ''}{hint}"


def missing(error: BaseException) -> str | None:
    """The line that says what to install or fetch, where that is all that an error is about; else None."""
    for link in _chain(error):
        if isinstance(link, Unavailable):
            return f"{link.message}\n{link.hint}" if link.hint else link.message
        if isinstance(link, ModuleNotFoundError) and link.name:
            top = link.name.partition(".")[0]
            if top != "kdbench" and importlib.util.find_spec(top) is None:
                return f"it needs {top}, which is not installed: pip install {_DISTRIBUTIONS.get(top, top)}"
    return None


def place_of(error: BaseException) -> str:
    """File and line of the innermost frame outside of the libraries, of kdbench's own checks and of its framework."""
    frame = _innermost(error)
    return f"{Path(frame.filename).name}:{frame.lineno}" if frame else ""


def place_within(error: BaseException) -> str:
    """The place of an error that kdbench's own code wrote for its users, to whom the place says nothing; else empty."""
    frame = _innermost(error)
    is_ours = frame is not None and Path(frame.filename).is_relative_to(_CHECKS.parent)
    return place_of(error) if is_ours and isinstance(error, KdbenchError) else ""


def _innermost(error: BaseException) -> traceback.FrameSummary | None:
    frames = [frame for link in _chain(error) for frame in traceback.extract_tb(link.__traceback__)]
    return next((frame for frame in reversed(frames) if is_components(frame.filename)), None)


def is_components(filename: str) -> bool:
    """Whether a file may be a component's: neither a library's, nor the checks', nor the framework's around them."""
    path = Path(filename)
    if filename.startswith("<") or path.is_relative_to(_CHECKS):
        return False
    if path.is_relative_to(_CHECKS.parent):
        return path.relative_to(_CHECKS.parent).parts[0] in _COMPONENTS and path.name != "base.py"
    for folder in _INSTALLED:
        if path.is_relative_to(folder):
            return path.relative_to(folder).parts[0].removesuffix(".py") not in _LIBRARIES
    return not any(path.is_relative_to(folder) for folder in _STANDARD)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _shortened(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    first = lines[0] if lines else ""
    return first if len(first) <= LONGEST else f"{first[:LONGEST]}…"
