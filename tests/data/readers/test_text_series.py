"""Series in text files: how programs and locales write them, and what is not whole."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.data.readers import text_series

VALUES = np.array([[1.5, -2, 3e-3], [0.25, 1e3, -0.125], [7, 8.5, 9]], np.float32)
ROWS = ["20181014_15:58:00.000,1.5,-2,3e-3", "20181014_15:58:00.020,.25,1000.,-0.125", "20181014_15:58:00.040,7,8.5,9"]


def read(content: bytes) -> np.ndarray:
    return text_series.read(content, (1, 2, 3), width=4)


def text(end: str = "\n", between: str = ",", rows: list[str] = ROWS) -> str:
    return end.join(row.replace(",", between) for row in rows) + end


@pytest.mark.parametrize(
    "content",
    [
        text().encode(),
        text().rstrip().encode(),
        text("\r\n").encode(),
        text("\r").encode(),
        text().encode("utf-8-sig"),
        text("\r\n").encode("utf-16"),
        text(between=", ").encode(),
        text(between=";").encode(),
        text(between="\t").encode(),
        text(between=" ").encode(),
        text(between=";").replace(".", ",").encode(),
        text(between="\t").replace(".", ",").encode(),
        ("time,x,y,z\n" + text()).encode(),
        ("# made by hand\n\n" + text("\n\n")).encode(),
        text().replace(",", '","').replace("2018", '"2018').replace("\n", '"\n').encode(),
        text(",\n").encode(),
        text().replace("20181014_15:58:00", "2018-10-14 15:58:00").encode(),
        text().replace("20181014_15:58:00", "10/14/2018 3:58:00 PM").encode(),
        text(between="|").encode(),
        ("% made by hand\n// twice\n" + text()).encode(),
        ("time,x,y,z\ns,g,g,g\n" + text()).encode(),
        ("Zeit;Höhe;y;z\n;m/s²;;\n" + text(between=";").replace(".", ",")).encode("latin-1"),
        text().replace("3e-3", "3D-3").replace("1000.", "1.0d+03").encode(),
        text().replace("20181014_15", '"2018;10;14 15"').encode(),
    ],
)
def test_the_same_values_however_they_are_written(content: bytes):
    found = read(content)
    assert found.dtype == np.float32
    assert np.array_equal(found, VALUES)


def test_a_quoted_time_may_hold_the_delimiter():
    assert np.array_equal(read(b'"Oct 14, 2018",1,2,3\n"Oct 14, 2018",4,5,6\n'), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b" \r\n\n", "it is empty"),
        (b"\xef\xbb\xbf", "it is empty"),
        (b"t,1,2\n", "line 1 has 3 columns, not 4"),
        (b"t,1,2,3\nt,1,2\n", "line 2 has 3 columns, not 4"),
        (b"t,1,2,3\n\nt,1,2,3,4\n", "line 3 has 5 columns, not 4"),
        (b"t,1,2,3\nt,1,,3\n", "line 2: the value in column 3 is missing"),
        (b"t,1,2,3\nt,1,2,\n", "line 2 has 3 columns, not 4"),
        (b"t,1,2,x\n", "line 1: the value in column 4 is not a number: 'x'"),
        (b"t,1,2,3\nt,1,2,null\n", "line 2: the value in column 4 is not a number: 'null'"),
        (b"t,1,5,2,5,3,5\n", "line 1 has 7 columns, not 4"),
        (b"t;1,5;2.5;3\nt;1.000,5;2;3\n", r"line 2: the value in column 2 is not a number: '1\.000,5'"),
        (b"t,1_000,2,3\nt,1,2,3\n", "line 1: the value in column 2 is not a number: '1_000'"),
        (b"t,0x10,2,3\nt,1,2,3\n", "is not a number: '0x10'"),
        (b"time,x,y,z\n", "line 1: the value in column 2 is not a number: 'x'"),
        (b"\x89PNG\xff\xfe", "it is not text in UTF-8"),
        (b"t,1,2,3\n\0\0\0", "it holds zero bytes"),
        (b"<html>404</html>\n", "line 1 has 1 column, not 4"),
    ],
)
def test_what_is_not_whole_is_named_with_its_line(content: bytes, message: str):
    with pytest.raises(ValueError, match=message):
        read(content)


def test_what_is_stated_as_not_finite_is_kept_for_the_caller():
    found = read(b"t,nan,-inf,1e39\nt,1,2,3\n")
    assert not np.isfinite(found[0]).any()
    assert np.isfinite(found[1]).all()


def test_any_width_will_do_where_none_is_asked_for():
    assert text_series.read(b"a b 1 2\na b 3 4\n", (2, 3)).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="it has 2 columns, expected 4"):
        text_series.read(b"1,2\n3,4\n", (2, 3))
