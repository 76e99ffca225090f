"""The JSON schema of typed settings, and annotations for what a config file holds otherwise than a command gets it.

    weight: Annotated[Choice, OneOf(WEIGHTS)]

In a file, a pluggable part names its backend and holds the options of each backend under that backend's name; a command
gets a Choice, the options of the chosen one alone. Every annotation here takes the file's form, checks all of it, and
tells its schema.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, create_model
from pydantic_core import core_schema

from msdiff.errors import BadSettings
from msdiff.settings import Choice, Entry, S, Settings, check

Schema = dict[str, Any]

# A laboratory's own backend is named by its location, and its options are its own affair.
LOCATION = "^[A-Za-z0-9_.]+:[A-Za-z0-9_]+$"
OWN: Schema = {"pattern": LOCATION, "description": "MODULE:FUNCTION of your own"}


def json_schema(kind: type[Settings]) -> Schema:
    """The JSON schema of a settings class, without references, titles and docstrings."""
    schema = kind.model_json_schema()
    resolved: Schema = _resolved(schema, schema.get("$defs", {}))
    return resolved


def partial(schema: Any) -> Any:
    """A schema of which nothing is required: what may be laid over a section."""
    if isinstance(schema, list):
        return [partial(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A list under this key is the keyword's; under `properties` it would be a setting of that name, and no list.
    return {key: partial(item) for key, item in schema.items() if not (key == "required" and isinstance(item, list))}


class _FileForm:
    """An annotation that makes the field's own value of what a file holds, and tells the schema of that."""

    def taken(self, value: Any) -> Any:
        """The field's value; ValueError with what is wrong in the file."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """The JSON schema of what the file holds."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.taken)

    def __get_pydantic_json_schema__(self, _: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        return self.schema()


class OneOf(_FileForm):
    """A Choice among backends, by the options that each takes.

    common      what all of them take
    stage       a kind of Choice that holds more than the choice, in the file beside the backends
    """

    def __init__(
        self,
        backends: Mapping[str, type[Settings] | Entry],
        common: type[Settings] | None = None,
        stage: type[Choice] = Choice,
    ) -> None:
        self.backends = {name: of if isinstance(of, type) else of.settings for name, of in backends.items()}
        if common:
            self.backends = {
                name: create_model(of.__name__, __base__=(of, common)) for name, of in self.backends.items()
            }
        self.stage = stage

    def taken(self, value: Any) -> Any:
        """The Choice, after all that the file says of any backend is checked."""
        if not isinstance(value, dict) or "backend" not in value:
            raise ValueError("expected a backend by its name")
        name, others = value["backend"], {}
        if name not in self.backends and not re.match(LOCATION, str(name)):
            raise ValueError(f"backend: expected one of {', '.join(self.backends)}, got {name!r}")
        for key, options in value.items():
            if key in self.backends:
                _checked(self.backends[key], options, key)
            elif not (re.match(LOCATION, key) and isinstance(options, dict)):
                others[key] = options
        return _checked(self.stage, {**others, "options": value.get(name, {})}, name)

    def schema(self) -> Schema:
        """`backend`, and the options of each under its name."""
        stage = json_schema(self.stage)
        del stage["properties"]["options"]
        stage["required"].remove("options")
        stage["properties"]["backend"] = {"type": "string", "anyOf": [{"enum": list(self.backends)}, OWN]}
        stage["properties"] |= {name: json_schema(kind) for name, kind in self.backends.items()}
        return stage | {"patternProperties": {LOCATION: {"type": "object"}}}


class Follows(_FileForm):
    """A mapping that follows a settings class and stays a mapping, for another place completes it."""

    def __init__(self, kind: type[Settings]) -> None:
        self.kind = kind

    def taken(self, value: Any) -> Any:
        """The mapping, checked."""
        _checked(self.kind, value, self.kind.__name__)
        return value

    def schema(self) -> Schema:
        """That of the class."""
        return json_schema(self.kind)


class Over(Follows):
    """What may be laid over a section: any part of it but some keys; null too, where that takes it out."""

    def __init__(self, kind: type[Settings], without: Collection[str]) -> None:
        super().__init__(kind)
        self.without = without

    def taken(self, value: Any) -> Any:
        """The mapping; what it makes of the section is checked by the command that gets the section."""
        return value

    def schema(self) -> Schema:
        """That of the class, of which nothing is required."""
        changes: Schema = partial(json_schema(self.kind))
        for key in self.without:
            del changes["properties"][key]
        return changes


def _checked(kind: type[S], value: Any, name: str) -> S:
    try:
        return check(kind, value, name)
    except BadSettings as error:
        raise ValueError(str(error)) from error


def _resolved(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_resolved(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolved(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
    # Docstrings and names are pydantic's; a description of our own stands beside a pattern, or at what is not titled.
    dropped = {"$defs", "title", "default", *(["description"] if "title" in node and "pattern" not in node else [])}
    # Under `properties`, keys are names of settings and all of them are kept.
    found = {
        key: {name: _resolved(value, definitions) for name, value in item.items()}
        if key == "properties"
        else _resolved(item, definitions)
        for key, item in node.items()
        if key not in dropped
    }
    # Of a mapping with names of a pattern pydantic says what follows it, and not that nothing else is allowed.
    if "patternProperties" in found and "additionalProperties" not in found:
        ((pattern, value),) = found.pop("patternProperties").items()
        found |= {"propertyNames": found.get("propertyNames", {}) | {"pattern": pattern}, "additionalProperties": value}
    return found
