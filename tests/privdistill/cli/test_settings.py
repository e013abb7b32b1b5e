"""Flag over file over default; where the file is found; which YAML is refused."""

from pathlib import Path

import pytest

from privdistill.cli.settings import find_file, load_settings
from privdistill.errors import ConfigError

FILE = """\
source:
  path: data/private.csv
  label_column: kind
  labels: [yes, no]
privacy:
  epsilon: 2
  delta: 1e-7
synthesis:
  rows: 50
  model: ./models/mine
ledger: books/ledger.sqlite3
"""


@pytest.fixture
def file(in_folder: Path) -> Path:
    path = in_folder / "privdistill.yaml"
    path.write_text(FILE)
    return path


def test_flags_win_over_the_file_and_the_file_over_defaults(file: Path) -> None:
    settings = load_settings({"privacy.epsilon": 8.0, "synthesis.rows": None}, file=file)
    assert settings.config.privacy.epsilon == 8.0  # flag
    assert settings.config.privacy.delta == 1e-7  # file
    assert settings.config.synthesis.rows == 50  # file; the flag was not given
    assert settings.config.source.holdout == 0.3  # default


def test_words_that_yaml_1_1_takes_for_booleans_stay_words(file: Path) -> None:
    assert load_settings({}, file=file).config.source.labels == ("yes", "no")


def test_paths_are_relative_to_the_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = file.parent / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    settings = load_settings({}, file=find_file(None))
    assert settings.config.source.path == str(file.parent / "data" / "private.csv")
    assert settings.config.synthesis.model == str(file.parent / "models" / "mine")
    assert settings.ledger == str(file.parent / "books" / "ledger.sqlite3")


def test_paths_of_flags_are_relative_to_the_working_directory(file: Path) -> None:
    assert load_settings({"source.path": "other.csv"}, file=file).config.source.path == "other.csv"


def test_demo_and_model_ids_are_not_paths(file: Path) -> None:
    file.write_text("source: {path: demo}\nsynthesis: {model: some/model}\n")
    config = load_settings({}, file=file).config
    assert (config.source.path, config.synthesis.model) == ("demo", "some/model")


def test_the_nearest_file_upwards_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = file.parent / "near"
    (near / "deep").mkdir(parents=True)
    (near / "privdistill.yaml").write_text("source: {path: demo}\n")
    monkeypatch.chdir(near / "deep")
    assert find_file(None) == near / "privdistill.yaml"


def test_the_flag_wins_over_the_variable_over_the_search(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flagged, variable = file.parent / "flag.yaml", file.parent / "variable.yaml"
    flagged.write_text("{}")
    variable.write_text("{}")
    monkeypatch.setenv("PRIVDISTILL_CONFIG", str(variable))
    assert find_file(flagged) == flagged
    assert find_file(None) == variable
    monkeypatch.setenv("PRIVDISTILL_CONFIG", "absent.yaml")
    with pytest.raises(ConfigError, match="PRIVDISTILL_CONFIG"):
        find_file(None)


def test_no_privacy_parameter_comes_from_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EPSILON", "DELTA", "UNIT", "HOLDOUT", "POLICY", "ROWS"):
        monkeypatch.setenv(f"PRIVDISTILL_{name}", "0.5")
    config = load_settings({}, file=file).config
    assert (config.privacy.epsilon, config.privacy.delta, config.source.unit) == (2.0, 1e-7, "record")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("privacy: {epsilonn: 8}", r"privacy\.epsilonn \(privdistill\.yaml\): unknown key; did you mean epsilon"),
        (
            "source: {path: x.csv, label_colum: kind}",
            r"label_colum \(privdistill\.yaml\): .* did you mean label_column",
        ),
        ("soruce: {label_column: kind}", "unknown key; did you mean source"),
        ("privacy: {epsilon: .inf}", r"privacy\.epsilon \(privdistill\.yaml\): expected a finite number"),
        ("privacy: {epsilon: .nan}", "finite number"),
        ("privacy: {epsilon: 1}\nprivacy: {epsilon: 9}", "appears twice"),
        ("privacy: 8", "privacy"),
        ("- a list", "expected sections"),
        ("a: [unclosed", "line"),
        ("noise_seed: 1", "unknown key"),
        ("policy: internal", "unknown key"),
        ("ledger: 7", "expected a path under `ledger`"),
        ("privacy: !!python/object/apply:os.system [echo]", "tags are not accepted"),
    ],
)
def test_bad_files_are_refused_with_their_place(file: Path, content: str, sentence: str) -> None:
    file.write_text(content + "\n")
    with pytest.raises(ConfigError, match=sentence):
        load_settings({"source.path": "x.csv"}, file=file)


def test_bytes_that_are_not_text_are_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings({}, file=file)


def test_problems_are_collected_with_what_was_expected_and_found(file: Path) -> None:
    flags = {"privacy.epsilon": -123.25, "privacy.delta": 7.125, "synthesis.rows": 0, "synthesis.recipe": None}
    with pytest.raises(ConfigError) as caught:
        load_settings(flags, file=file)
    message = str(caught.value)
    assert message.count("(flag)") == 3
    assert "privacy.epsilon (flag): expected greater than 0, found -123.25" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"performance.dtype": "float16"}, "expected 'auto', 'bfloat16' or 'float32', found 'float16'"),
        ({"synthesis.rows": "many"}, "expected integer, unable to parse|found text"),
        ({"source.name": ""}, "is a variable unset"),
        ({"source.name": "  "}, "is a variable unset"),
        ({"source.text_column": "kind"}, "must be different columns"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused(file: Path, flags: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_settings(flags, file=file)


def test_a_corpus_named_as_the_configuration_is_not_repeated(file: Path) -> None:
    file.write_text('{"Patient Eva had joint stiffness": 5, "source": ["Eva was here"]}')
    with pytest.raises(ConfigError, match="keys with values, found a list") as caught:
        load_settings({}, file=file)
    assert "Eva" not in str(caught.value)


def test_a_missing_corpus_says_how_to_name_one(in_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"privdistill init"):
        load_settings({}, file=None)


def test_a_mistyped_section_is_named_before_the_corpus_that_it_hides(file: Path) -> None:
    file.write_text(FILE.replace("source:", "soruce:"))
    with pytest.raises(ConfigError, match=r"soruce \(privdistill.yaml\): unknown key"):
        load_settings({}, file=file)
