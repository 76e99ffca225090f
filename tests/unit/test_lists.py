import math

import pytest

from msdiff.errors import BadInput
from msdiff.lists import read_list, read_results


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "list.tsv"
    path.write_text("subject\tarm\tdice\nsub-NA\t\t0.5\nsub-2\tNA\t\n")
    return path


def test_an_empty_cell_of_a_list_is_empty_text_and_of_scores_a_missing_number(path):
    assert read_list(path, ["subject"])["arm"].tolist() == ["", "NA"]
    first, second = read_results(path, ["subject"])["dice"]
    assert first == 0.5
    assert math.isnan(second)


def test_names_of_digits_stay_text_where_the_reader_asks_for_it(tmp_path):
    (tmp_path / "list.tsv").write_text("arm\n007\n")
    assert read_list(tmp_path / "list.tsv", ["arm"], dtype={"arm": str})["arm"].tolist() == ["007"]


@pytest.mark.parametrize("read", [read_list, read_results])
def test_a_list_without_a_column_is_refused(path, read):
    with pytest.raises(BadInput, match=r"list\.tsv: missing columns hd95; expected .* with subject, hd95"):
        read(path, ["subject", "hd95"])


@pytest.mark.parametrize("read", [read_list, read_results])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"a\tb\n1\t2\t3\t4\n1\t2\t3\t4\t5\t6\n"])
def test_a_file_that_is_no_list_is_refused_in_one_line(tmp_path, read, content):
    if content is not None:
        (tmp_path / "list.tsv").write_bytes(content)
    with pytest.raises(BadInput, match=r"list\.tsv: expected .*, cannot read it \(") as error:
        read(tmp_path / "list.tsv", [])
    assert "\n" not in str(error.value)


def test_a_list_without_rows_is_refused_where_rows_are_needed(tmp_path):
    (tmp_path / "list.tsv").write_text("subject\n")
    assert read_list(tmp_path / "list.tsv", ["subject"]).empty
    with pytest.raises(BadInput, match="expected a plan, got no rows; write it with plan-samples"):
        read_list(tmp_path / "list.tsv", ["subject"], "a plan", "write it with plan-samples", needs_rows=True)
