import pytest

from msdiff.errors import BadSettings
from msdiff.settings import Choice, Settings, check, digest, read


class Part(Settings):
    """Settings of the tests."""

    steps: int
    rate: float
    shape: tuple[int, int]


GOOD = '{"steps": 3, "rate": 1, "shape": [2, 3]}'


def test_json_becomes_settings():
    assert read(Part, GOOD) == Part(steps=3, rate=1.0, shape=(2, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ('{"steps": 3, "rate": 1, "shape": [2, 3], "stepz": 1}', "unknown key 'stepz'"),
        ('{"steps": 3, "rate": 1}', "missing key 'shape'"),
        ('{"steps": "3", "rate": 1, "shape": [2, 3]}', "steps: .* got '3'"),
        ('{"steps": 3.5, "rate": 1, "shape": [2, 3]}', r"steps: .* got 3\.5"),
        ('{"steps": 3, "rate": 1, "shape": [2]}', "shape"),
        ("[]", "top level"),
    ],
)
def test_fault_is_one_line_that_names_the_key(text, message):
    with pytest.raises(BadSettings, match=message) as caught:
        read(Part, text, "part")
    assert str(caught.value).startswith("part: ")
    assert "\n" not in str(caught.value)


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        read(Part, GOOD).steps = 4


def test_choice_keeps_the_options_for_its_backend():
    choice = check(Choice, {"backend": "ants", "options": {"a": [1, {"b": 2}]}})
    assert choice.options == {"a": [1, {"b": 2}]}


def test_digest_knows_values_not_order():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest(read(Part, GOOD)) == digest({"steps": 3, "rate": 1.0, "shape": [2, 3]})
