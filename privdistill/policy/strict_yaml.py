"""YAML without surprises: the safe core schema of YAML 1.2, no duplicate keys, no aliases, no tags.

PyYAML speaks YAML 1.1, where `1e-5` is a string, `010` is eight, `on` is true, `12:30` is a number and the second of
two equal keys silently wins. A policy decides about people, so none of that is read here. It does not know what the
document means.
"""

import re

import yaml

__all__ = ["YamlError", "read_yaml"]

_MAX_CHARACTERS = 1_000_000


class YamlError(ValueError):
    """The text is not the YAML that is accepted here; the message names line and reason."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 replaced, not shared, so that PyYAML's own loader stays as it is

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.events.AliasEvent) or getattr(event, "tag", None) is not None:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise YamlError(f"line {line}: aliases and tags are not accepted")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise YamlError(f"line {key.start_mark.line + 1}: a key must be text")
            if name in keys:
                raise YamlError(f"line {key.start_mark.line + 1}: the key {name!r} appears twice")
            keys.add(name)
        return dict(super().construct_mapping(node, deep=deep))


def _float(_: _Loader, node: yaml.ScalarNode) -> float:
    text = node.value.lower().replace(".inf", "inf").replace(".nan", "nan")
    return float(text)


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    (
        "float",
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))


def read_yaml(text: str) -> object:
    """Parse one document.

    Raises:
        YamlError: not YAML, more than one document, a duplicate key, an alias, a tag, or more than a million
        characters.
    """
    if len(text) > _MAX_CHARACTERS:
        raise YamlError(f"expected at most {_MAX_CHARACTERS} characters, found {len(text)}")
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except YamlError:
        raise
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise YamlError(f"{where}{getattr(error, 'problem', None) or 'not readable as YAML'}") from None
    finally:
        if loader is not None:
            loader.dispose()
