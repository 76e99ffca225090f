"""Values of the config against its JSON schema: the command line's texts become values, a fault is told in one line."""

import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import relevance

from msdiff.errors import BadSettings

Schema = dict[str, Any]

KINDS = {
    "null": "null",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "keys with values",
}
# Of these keywords the message says that the value is of another kind than the schema's.
OF_KIND = ("type", "enum", "const", "anyOf")


def texts_of(arguments: Sequence[str]) -> dict[str, Any]:
    """What `--config KEY=VALUE ...` gives, every value still a text, as `coerced` takes it.

    >>> texts_of(["size=demo", "detection={seeds: [5]}"])
    {'size': 'demo', 'detection': {'seeds': ['5']}}
    """
    values: dict[str, Any] = {}
    for argument in arguments:
        key, _, text = argument.partition("=")
        try:
            values[key] = yaml.load(text, yaml.BaseLoader)
        except yaml.YAMLError:
            raise BadSettings(f"--config {argument}: expected KEY=VALUE, the value as in a YAML file") from None
    return values


def refuse_dotted_keys(words: Sequence[str]) -> None:
    """End with one line and exit code 2 where a command line of Snakemake has a dotted key after --config.

    Snakemake refuses it too, with a traceback, before it reads the workflow; the profiles call this before.
    """
    given = False
    for word in words:
        if word.startswith("-"):
            given = word in ("--config", "-C")
            continue
        key, _, value = word.partition("=")
        if given and re.fullmatch(r"\w+(\.\w+)+", key):
            sys.stderr.write(f"msdiff: error: --config {word}: keys are nested: {_nested(key.split('.'), value)}\n")
            sys.exit(2)


def coerced(value: Any, schema: Schema, path: tuple[str, ...] = ()) -> Any:
    """A value whose texts are what the schema takes: "5" a number, "true" a boolean, "null" nothing.

    A text that the schema takes in no way stays, for `fault` to tell of. Raises BadSettings where it takes a text both
    as text and as something else.

    >>> coerced({"seeds": ["5"]}, {"properties": {"seeds": {"items": {"type": "integer"}}}})
    {'seeds': [5]}
    """
    if isinstance(value, str):
        return _read(value, schema, path)
    if "anyOf" in schema:
        readings = [(coerced(value, option, path), option) for option in schema["anyOf"]]
        valid = [read for read, option in readings if _is_valid(read, option)]
        of_kind = [read for read, option in readings if _is_valid(read, {"type": option.get("type", [])})]
        return [*valid, *of_kind, value][0]
    if isinstance(value, dict):
        return {key: coerced(item, _below(schema, key), (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        kinds = [*first, *[schema.get("items", {})] * (len(value) - len(first))]
        return [coerced(item, kind, path) for item, kind in zip(value, kinds, strict=False)] + value[len(kinds) :]
    return value


def fault(values: Any, schema: Schema) -> str | None:
    """The most telling fault of values against a schema, `KEY.KEY: what was expected, what came`; None without one."""
    for path, key in _keys(values, ()):
        if not isinstance(key, str):
            return f"{_dotted(path)}: expected text as a key, got {_shown(key)}; put it in quotes"
        first, *others = key.split(".")
        if others and first in _at(schema, path).get("properties", {}):
            nested = _nested([*map(str, path), first, *others], "VALUE")
            return f"{_dotted(path)}: unknown key {key!r}; keys are nested: {nested}, or so in a file"
    error = max(Draft202012Validator(schema).iter_errors(values), key=relevance, default=None)
    if error is None:
        return None
    error = _deepest(error)
    if error.validator == "required" and error.schema.get("additionalProperties") is True:
        *above, key = error.absolute_path
        needed = ", ".join(error.validator_value)
        return f"{_dotted(above)}: {_unknown(_at(schema, above), key)} One of your own has the keys {needed}"
    return f"{_dotted(error.absolute_path)}: {_told(error)}"


def one_of(names: Iterable[str], got: Any) -> str:
    """What to say where something else came than one of these names.

    >>> one_of(["demo", "small", "paper"], "smal")
    "expected one of demo, small, paper, got 'smal'; did you mean 'small'?"
    """
    names = list(names)
    close = difflib.get_close_matches(str(got), names, 1)
    return f"expected one of {', '.join(names)}, got {_shown(got)}" + (f"; did you mean {close[0]!r}?" if close else "")


def _read(text: str, schema: Schema, path: tuple[str, ...]) -> Any:
    if not schema:
        # Options of a backend of one's own: as in a YAML file.
        return yaml.safe_load(text)
    readings = list(_readings(text))
    valid = [reading for reading in readings if _is_valid(reading, schema)]
    if None in valid:
        return None
    if len(valid) > 1 and text in valid:
        raise BadSettings(
            f"{_dotted(path)}: {text!r} may be text or {_shown(valid[0])}; give it in a file, by --configfile"
        )
    checks = Draft202012Validator(schema)
    # Out of range, but of the right kind: the fault is told of the number and not of its text.
    of_kind = [reading for reading in readings if not any(e.validator in OF_KIND for e in checks.iter_errors(reading))]
    return [*valid, *of_kind, text][0]


def _readings(text: str) -> Iterator[Any]:
    """All that a text may stand for, the text itself last."""
    if text in ("null", "~", ""):
        yield None
    if text.lower() in ("true", "false"):
        yield text.lower() == "true"
    if re.fullmatch(r"[-+]?\d+", text):
        yield int(text)
    elif re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        yield float(text)
    yield text


def _is_valid(value: Any, schema: Schema) -> bool:
    valid: bool = Draft202012Validator(schema).is_valid(value)
    return valid


def _below(schema: Schema, key: str) -> Schema:
    """The schema of the value under a key; empty where any is taken, or none."""
    found = schema.get("properties", {}).get(key)
    patterns = (of for pattern, of in schema.get("patternProperties", {}).items() if re.search(pattern, key))
    rest = schema.get("additionalProperties")
    return found or next(patterns, rest if isinstance(rest, dict) else {})


def _nested(steps: Sequence[str], value: str) -> str:
    """How a value is given for a key below others."""
    return f"--config '{steps[0]}={{{': {'.join(steps[1:])}: {value}{'}' * (len(steps) - 1)}'"


def _at(schema: Schema, path: Iterable[Any]) -> Schema:
    """The schema of the mapping at a path."""
    for step in path:
        schema = _below(schema, str(step))
    return schema


def _keys(values: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every key of nested values, with the path to its mapping."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield path, key
            yield from _keys(value, (*path, key))
    elif isinstance(values, list):
        for place, value in enumerate(values):
            yield from _keys(value, (*path, place))


def _deepest(error: ValidationError) -> ValidationError:
    """Of several allowed kinds, the fault in the one that the value is of, if there is one such."""
    while error.validator == "anyOf":
        other_kind = {cause.schema_path[0] for cause in error.context if not cause.path and cause.validator in OF_KIND}
        causes = [cause for cause in error.context if cause.schema_path[0] not in other_kind]
        kinds = {cause.schema_path[0] for cause in causes}
        if len(kinds) != 1 or all(cause.validator == "pattern" for cause in causes):
            break
        error = max(causes, key=relevance)
    return error


def _told(error: ValidationError) -> str:
    """What was expected and what came."""
    schema, got, limit = error.schema, error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            known, patterns = schema.get("properties", {}), "|".join(schema.get("patternProperties", ["(?!)"]))
            return _unknown(schema, next(key for key in got if key not in known and not re.search(patterns, key)))
        case "required":
            return f"missing key {next(key for key in limit if key not in got)!r}"
        case "enum" | "const" | "type" | "anyOf" | "pattern":
            return _expected(schema, got)
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            words = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}
            return f"expected {words.get(error.validator, 'less than')} {limit}, got {_shown(got)}"
        case _:
            return f"{error.message}"


def _unknown(schema: Schema, key: str) -> str:
    """That a schema knows no such key, and which was meant."""
    known = list(schema.get("properties", {}))
    close = difflib.get_close_matches(key, known, 1)
    return f"unknown key {key!r}; " + (f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}.")


def _expected(schema: Schema, got: Any) -> str:
    options = [schema, *schema.get("anyOf", [])]
    names = [name for option in options for name in option.get("enum", [option["const"]] if "const" in option else [])]
    others = [_kind(option) for option in options if not {"enum", "const", "anyOf"} & set(option)]
    if names:
        return one_of([name if isinstance(name, str) else _shown(name) for name in names] + others, got)
    return f"expected {' or '.join(others)}, got {_shown(got)}"


def _kind(schema: Schema) -> str:
    """In words, what values a schema takes."""
    if "pattern" in schema:
        return str(schema.get("description", f"text like {schema['pattern']}"))
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(KINDS[kind] for kind in types)


def _shown(value: Any) -> str:
    """A value as a user writes it, not more than 60 letters of it."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _dotted(path: Iterable[Any]) -> str:
    return ".".join(map(str, path)) or "(top level)"
