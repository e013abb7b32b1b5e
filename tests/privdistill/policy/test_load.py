"""Policies are read strictly: whatever YAML or a typing error could hide is refused, with its place."""

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest

from privdistill.errors import ConfigError
from privdistill.policy import load as load_module
from privdistill.policy import load_policy, parse_policy, policy_json_schema, shipped_policies
from privdistill.policy.strict_yaml import YamlError, read_yaml
from tests.conftest import ROOT

HEAD = """schema: privdistill.policy/v1
name: mine
version: "1"
description: for tests
rules:
  - {id: made, kind: claim-made, level: hard, why: because}
"""


def rule(text: str) -> str:
    return f"{HEAD}  - {{id: r, level: hard, why: because, {text}}}\n"


@pytest.mark.parametrize("spelling", ["1e-5", '"1e-5"', "0.00001", "1.0E-5"])
def test_exponents_are_numbers(spelling: str) -> None:
    policy = parse_policy(rule(f"kind: max-delta, delta: {spelling}"), "x").policy
    assert policy.rules[1].model_dump()["delta"] == 1e-5


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("kind: max-delta, delta: .inf", "delta"),
        ("kind: max-epsilon, epsilon: .nan", "epsilon"),
        ("kind: max-epsilon, epsilon: '.inf'", "epsilon"),
        ("kind: max-epsilon, epsilon: inf", "epsilon"),
        ("kind: max-epsilon, epsilon: true", "epsilon"),
        ("kind: max-epsilon, epsilon: -1", "epsilon"),
        ("kind: max-epsilon, epsilon: 0", "epsilon"),
        ("kind: max-epsilon, epsilon: 12:30", "epsilon"),
        ("kind: max-epsilon, epsilo: 8", "epsilo"),
        ("kind: max-epsilon", "epsilon"),
        ("kind: max-epsilonn, epsilon: 8", "kind"),
        ("kind: standing", "kind"),
        ("kind: max-attempts, attempts: 1.5", "attempts"),
        ("kind: required-checks, checks: []", "checks"),
        ("kind: required-checks, checks: [verbatim]", "checks"),
        ("kind: estimate-bound, check_id: PD201, estimate: excess_rate", "exactly one"),
        ("kind: estimate-bound, check_id: PD201, estimate: excess_rate, at_most: 1, at_least: 0", "exactly one"),
        ("kind: estimate-bound, check_id: PD201, estimate: excess_rate, at_most: .nan", "at_most"),
        ("kind: estimate-bound, check_id: PD201, estimate: excess_rate, at_most: true", "at_most"),
        ("kind: permitted-noise, noise: [none]", "noise"),
        ("kind: permitted-models, models: ['*'], pinned: on", "pinned"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError, match=place):
        parse_policy(rule(text), "mine")


def test_a_file_that_is_no_policy_is_said_in_words() -> None:
    with pytest.raises(ConfigError, match="file: expected keys with values, found a list") as caught:
        parse_policy("- Eva was here\n", "mine")
    assert "Eva" not in str(caught.value)
    with pytest.raises(ConfigError, match="descripton: unknown key; did you mean description"):
        parse_policy(HEAD.replace("description", "descripton"), "mine")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + "name: other\n", "twice"),
        (HEAD.replace("level: hard", "level: hard, level: advisory"), "twice"),
        (HEAD + "publish_metrics: yes\n", "publish_metrics"),
        (HEAD + 'publish_metrics: "true"\n', "publish_metrics"),
        (HEAD + "extra: 1\n", "extra"),
        (HEAD.replace("/v1", "/v2"), "schema"),
        (HEAD.partition("rules:")[0] + "rules: []\n", "rules"),
        (HEAD.partition("rules:")[0], "rules"),
        (HEAD.replace("level: hard", "level: advisory"), "claim-made"),
        (HEAD + "  - {id: made, kind: min-rows, rows: 1, level: soft, why: x}\n", "same id"),
        (HEAD.replace("because", "''"), "why"),
        (HEAD.replace("because", "&a x") + "  - *a\n", "alias"),
        (HEAD.replace("because", "!!python/object/apply:os.system [true]"), "tags"),
        (HEAD + "---\n" + HEAD, "document"),
        ("- a\n- b\n", "policy"),
        ("", "policy"),
        ("a: [1", "line"),
        ("{" * 3000, "YAML"),
    ],
)
def test_a_wrong_file_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_policy(text, "mine")


def test_messages_never_show_the_value() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(rule("kind: max-epsilon, epsilon: SECRET-VALUE"), "mine")
    assert "SECRET-VALUE" not in str(caught.value)


def test_yaml_is_the_core_schema() -> None:
    text = "a: 010\nb: on\nc: 1_000\nd: 2026-01-01\ne: 1e-5\nf: null\ng: ~\nh: -.5\ni: 0x10\n"
    assert read_yaml(text) == {
        "a": 10, "b": "on", "c": "1_000", "d": "2026-01-01", "e": 1e-5, "f": None, "g": None, "h": -0.5, "i": "0x10",
    }  # fmt: skip
    with pytest.raises(YamlError, match="must be text"):
        read_yaml("1: a\n")
    with pytest.raises(YamlError, match="characters"):
        read_yaml("a: " + "x" * 1_000_001)


# -- where policies are


def test_the_shipped_policies_load() -> None:
    assert shipped_policies() == ("finance", "health", "internal", "public", "research")
    for name in shipped_policies():
        loaded = load_policy(name)
        content = (ROOT / "policies" / f"{name}.yaml").read_bytes()
        assert loaded.policy.name == name
        assert loaded.text.encode() == content
        assert loaded.sha256 == hashlib.sha256(content).hexdigest()
        assert all(len(rule.why) > 40 for rule in loaded.policy.rules), "a shipped limit explains itself"
        assert not loaded.policy.publish_metrics


def test_stricter_policies_are_stricter() -> None:
    limits = [
        next(rule for rule in load_policy(name).policy.rules if rule.kind == "max-epsilon").epsilon
        for name in ("public", "internal", "research")
    ]
    assert limits == sorted(limits)


def test_a_path_is_read_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(HEAD.replace("\n", "\r\n").encode())
    loaded = load_policy(path)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_policy(str(path)) == loaded


@pytest.mark.parametrize("name", ["no-such-policy", "", "internal.yaml", "a\0b", "."])
def test_an_unknown_policy_names_the_known_ones(name: str, in_folder: Path) -> None:
    with pytest.raises(ConfigError, match="internal, public, research"):
        load_policy(name)


def test_a_policy_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_policy(tmp_path / "p.yaml")


def test_a_wheel_brings_its_own_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a wheel the folder is privdistill/_policies; it is looked at before the checkout's."""
    (tmp_path / "_policies" / "cases").mkdir(parents=True)
    (tmp_path / "_policies" / "internal.yaml").write_text(HEAD)
    monkeypatch.setattr(load_module, "files", lambda package: tmp_path)
    assert shipped_policies() == ("internal",)
    assert load_policy("internal").text == HEAD
    with pytest.raises(ConfigError):
        load_policy("public")


def test_neither_wheel_nor_checkout_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "roots", lambda: (tmp_path / "absent",))
    assert shipped_policies() == ()
    with pytest.raises(ConfigError):
        load_policy("internal")


# -- the published schema


def test_the_published_schema_is_the_models() -> None:
    assert (ROOT / "policies" / "policy.schema.json").read_text() == policy_json_schema()


def test_shipped_policies_satisfy_the_published_schema() -> None:
    schema = json.loads(policy_json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    for name in shipped_policies():
        jsonschema.validate(read_yaml(load_policy(name).text), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read_yaml(rule("kind: max-epsilon, epsilo: 8")), schema)
