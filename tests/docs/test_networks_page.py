"""The recipes of the page on networks and teachers are recipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from kdbench.grid.ahead import check_networks
from kdbench.recipes.kinds import recipe_kind
from kdbench.recipes.resolve import resolve
from kdbench.runs.context import spec_for
from kdbench.runs.request import RunRequest

PAGE = Path(__file__).parents[2] / "docs/networks.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"recipe_{number}.yaml" for number in range(len(BLOCKS))]
    for path, text in zip(made, BLOCKS, strict=True):
        # One that only changes its teacher stands for a method that has one.
        content = yaml.safe_load(text)
        path.write_text(
            yaml.safe_dump(content if "extends" in content else {"extends": "kd", **content}, sort_keys=False)
        )
    return made


def test_its_first_recipe_is_a_teacher_of_unlike_branches(files: list[Path]) -> None:
    assert recipe_kind(yaml.safe_load(BLOCKS[0])) == "teacher"
    request = RunRequest("kd", "motionsim", teacher=str(files[0]), preset="smoke", device="cpu")
    assert request.recipe.teacher is not None
    assert list(request.recipe.teacher.branches or ()) == ["wrist", "body", "camera"]
    check_networks(spec_for(request, look_ahead=True))


def test_its_other_recipes_are_methods(files: list[Path]) -> None:
    several, joint = (resolve(str(path), "smoke") for path in files[1:])
    assert several.teacher is None
    assert set(several.teachers) == {"imu", "body", "fair", "old"}
    assert several.teachers["old"].weights is not None
    assert joint.teacher is not None
    assert joint.teacher.joint
