import pytest

from msdiff.backends import load
from msdiff.errors import BadSettings

TABLE = {"path": "os.path:join", "broken": "msdiff.nowhere:nothing"}


def test_listed_name_is_loaded():
    assert load(TABLE, "path")("a", "b") == "a/b"


def test_location_is_loaded():
    assert load(TABLE, "math:sqrt")(4) == 2


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(BadSettings, match=r"expected one of path, broken, .* got 'pth'"):
        load(TABLE, "pth")


@pytest.mark.parametrize("name", ["broken", "no.such.module:f", "math:no_such_function"])
def test_location_that_cannot_be_imported_is_named(name):
    with pytest.raises(BadSettings, match=f"backend '{name}': cannot import"):
        load(TABLE, name)
