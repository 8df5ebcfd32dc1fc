"""Whether a file is a method or a teacher."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.errors import UsageError
from kdbench.recipes.kinds import recipe_kind
from kdbench.recipes.resolve import resolve
from kdbench.util import paths


def test_every_shipped_recipe_is_taken_for_what_it_is() -> None:
    for kind, folder in (("method", "methods"), ("teacher", "methods/teachers")):
        files = [path for path in paths.folder("methods").parent.glob(f"{folder}/*.yaml") if path.stem[0] != "_"]
        assert len(files) > 20
        for path in files:
            assert recipe_kind(paths.read_mapping(path, "recipe")) == kind, path


def test_what_only_extends_another_is_what_that_is() -> None:
    assert recipe_kind({"extends": "imu_depth"}) == "teacher"
    assert recipe_kind({"extends": "kd"}) == "method"
    # A name of both kinds.
    assert recipe_kind({"extends": "hamlet"}) == "method"
    assert recipe_kind({}) == "method"


def test_a_teachers_file_is_no_method_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "sees.yaml").write_text("extends: raw\n")
    (tmp_path / "learns.yaml").write_text("extends: kd\n")
    with pytest.raises(UsageError, match="asked for as a method, and extends the teacher 'raw'") as caught:
        resolve(str(tmp_path / "sees.yaml"), "smoke")
    assert caught.value.hint == "Ask for it as a teacher: --method teacher_only --teacher sees.yaml"
    with pytest.raises(UsageError, match="asked for as a teacher, and extends the method 'kd'") as caught:
        resolve("kd", "smoke", teacher=str(tmp_path / "learns.yaml"))
    assert caught.value.hint == "Ask for it as a method: --method learns.yaml"
    assert resolve("kd", "smoke", teacher=str(tmp_path / "sees.yaml")).title == "kd + sees"
