"""Write the JSON Schemas of sessions and of provenance from the models: `make schemas`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tissuumaps_sic.annotation import actions, last_run, loans, session
from tissuumaps_sic.slidefile import provenance

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NAME: JsonSchemaValue = {"type": "string"}
_NAMES: JsonSchemaValue = {"type": "array", "items": _NAME, "minItems": 1, "description": "Names of patches."}
_PACKED: JsonSchemaValue = {"type": "string", "contentEncoding": "base64"}
_ROWS: JsonSchemaValue = {
    "description": "Rows; a text is the steps from one to the next, '<i4', zlib-compressed, base64.",
    "anyOf": [{"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}, _PACKED],
}


def _by_label(key: str, value: JsonSchemaValue) -> JsonSchemaValue:
    """Return the schema of seeds class by class, as files of large sessions have them."""
    return {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"label": {"type": "integer", "minimum": 0}, key: value},
            "required": ["label", key],
            "additionalProperties": False,
        },
    }


_SEEDS: JsonSchemaValue = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
_PACKED_NAMES = {**_PACKED, "description": "JSON of a list of names, zlib-compressed, base64."}
# What pydantic cannot say of our own validators: the JSON that they take.
_TAKEN: dict[Any, JsonSchemaValue] = {
    actions._read_patches: _NAMES,
    last_run._read_seeds: {"anyOf": [_SEEDS, _by_label("rows", _ROWS)]},
    provenance._to_text: _NAME,
}


class Schema(GenerateJsonSchema):
    """Schemas of files as they are written, what is packed included."""

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        """Return what a validator of ours takes; one that is not known here ends it."""
        return dict(_TAKEN[schema["function"]["function"]])

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model, with what its validators read before its fields."""
        made = super().model_schema(schema)
        # Docstrings tell of Python.
        made["description"] = made.get("description", "").partition("\n\n")[0].replace("\n", " ")
        if schema["cls"] is actions.SeedAction:
            made["properties"]["rows"] = _ROWS
            made["required"].remove("patches")
            made["oneOf"] = [{"required": ["patches"]}, {"required": ["rows"]}]
        elif schema["cls"] in (loans.Loan, loans.UsedLoan):
            named = made["properties"]["seeds"]
            made["properties"]["seeds"] = {"anyOf": [named, _by_label("patches", _PACKED_NAMES)]}
        return made


def session_schema() -> dict[str, Any]:
    """Return the schema of a session's file, of any version that is read."""
    made = session.Session.model_json_schema(schema_generator=Schema)
    written = get_args(session.Session.model_fields["schema_"].annotation)
    made["properties"]["schema"] = {"enum": sorted({*written, *session._OTHER_SCHEMAS}), "title": "Schema"}
    made["required"] = ["schema", *made["required"]]
    action = made["properties"]["actions"]["items"]
    made["properties"]["history"] = {
        "description": "Actions before `actions`; a text is JSON of several, zlib-compressed, base64.",
        "type": "array",
        "items": {"anyOf": [action, _PACKED]},
    }
    return _head("A session of tissuumaps-sic, SLIDE.sic.json", made)


def provenance_schema() -> dict[str, Any]:
    """Return the schema of the text in ``uns['embedder']``."""
    made = provenance.Provenance.model_json_schema(schema_generator=Schema)
    made["required"] = list(provenance.NEEDED)
    return _head("How the h5ad of a slide was made, uns['embedder']", made)


def _head(title: str, made: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": DIALECT, **made, "title": title}


def texts() -> dict[str, str]:
    """Return what each file of the folder is to hold."""
    made = {"session.schema.json": session_schema(), "provenance.schema.json": provenance_schema()}
    return {name: json.dumps(each, indent=1, sort_keys=True) + "\n" for name, each in made.items()}


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
