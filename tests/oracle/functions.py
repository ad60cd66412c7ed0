#!/usr/bin/env python3
"""Write the function definitions of the Berkeley Function Calling Leaderboard as tools with JSON Schemas.

    functions.py WHEEL OUTPUT.json
"""
import json, sys, zipfile

# The leaderboard's names of types, in Python, Java and JavaScript, and JSON Schema's. "any" is no type at all.
TYPES = {"dict": "object", "float": "number", "tuple": "array", "list": "array", "bool": "boolean", "any": None, "Any": None,
         "String": "string", "Boolean": "boolean", "Integer": "integer", "ArrayList": "array", "Array": "array",
         "HashMap": "object", "Hashtable": "object", "Queue": "array", "Stack": "array", "Set": "array", "byte": "integer",
         "short": "integer", "long": "integer", "double": "number", "char": "string", "Bigint": "integer", "Object": "object",
         "int": "integer", "str": "string", "None": "null"}


def schema(node):
    if isinstance(node, list):
        return [schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {}
    for key, value in node.items():
        if key == "type" and isinstance(value, str):
            kind = TYPES.get(value, value)
            if kind:
                out[key] = kind
        elif key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            out[key] = {name: schema(child) for name, child in value.items()}
        elif key in ("items", "additionalProperties", "anyOf", "oneOf", "allOf"):
            out[key] = schema(value)
        else:
            out[key] = value
    return out


def definitions(wheel):
    """Every object with a name and parameters, in whichever way a file lists them."""
    for name in wheel.namelist():
        if not name.startswith("bfcl_eval/data/") or not name.endswith(".json"):
            continue
        for line in wheel.read(name).decode().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if not isinstance(entry, dict):
                continue
            listed = entry.get("function", entry if "parameters" in entry else [])
            for function in listed if isinstance(listed, list) else [listed]:
                if isinstance(function, dict) and isinstance(function.get("parameters"), dict) and "name" in function:
                    yield function


def main(wheel, output):
    tools = {}
    for function in definitions(zipfile.ZipFile(wheel)):
        tool = {"name": function["name"], "input_schema": schema(function["parameters"])}
        tools[json.dumps(tool, sort_keys=True)] = tool
    json.dump(list(tools.values()), open(output, "w"))
    print(f"oracle: {len(tools)} different function definitions")


main(*sys.argv[1:])
