"""What a guest may not do, through the whole run: one sentence, exit code 2, no more charged than was reserved."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill import pipeline
from privdistill.candidate import read_claim
from privdistill.errors import ConfigError, PrivacyError, RecipeError
from privdistill.recipes.registry import find_recipe, recipe_names
from tests.privdistill.recipes.guest.conftest import Told

Install = Callable[..., Path]

BEFORE = {
    "no recipe": ("run = None", "not a recipe|failed: TypeError"),
    "records as they are": (
        'def mechanisms(self, task):\n    return (PlannedMechanism("all", "none", 1.0),)',
        "handed records as they are",
    ),
    "the plan's own name": (
        'def mechanisms(self, task):\n    return (PlannedMechanism("labels", "gaussian", 1.0),)',
        "called 'labels'",
    ),
    "two of a name": (
        'def mechanisms(self, task):\n    return (PlannedMechanism("a", "gaussian", 0.5),) * 2',
        "two mechanisms of one name",
    ),
    "a share that is none": (
        'def mechanisms(self, task):\n    return (PlannedMechanism("a", "gaussian", float("nan")),)',
        "cannot be read",
    ),
    "a floor that is none": ("def noise_floor(self, task, nm):\n    return float('nan')", "cannot be read"),
    "an error while it is asked": (
        "def mechanisms(self, task):\n    raise OSError('secret')",
        r"OSError at acme_recipe",
    ),
    "an end while it is asked": ("def mechanisms(self, task):\n    import os\n    os._exit(7)", "ended with code 7"),
    "a name that paints": (
        "def mechanisms(self, task):\n    return (PlannedMechanism('\\x1b[2J', 'gaussian', 1.0),)",
        "cannot be read",
    ),
}
"""What comes to light while planning: nothing is read, nothing spent."""

LATER = {
    "an unplanned request": (
        'def request(self, context):\n    return super().request(context, "more")',
        "outside its plan",
    ),
    "an unsendable request": (
        "def request(self, context):\n    from privdistill.mechanisms.release import DisclosureRequest\n"
        '    return DisclosureRequest("counts", 5)',
        "for built-in recipes",
    ),
    "a number as a request": ("def request(self, context):\n    return 5", "for built-in recipes"),
    "an error": (
        "def request(self, context):\n    raise ValueError('secret')",
        r"failed: ValueError at acme_recipe.py:\d+;",
    ),
    "a signal": ("def request(self, context):\n    import os\n    os.kill(os.getpid(), 9)", "ended by signal 9"),
    "a draw left out": (
        "def run(self, context):\n    return self.rows(context, None, {'n': 1})\n    yield",
        "without asking for every mechanism",
    ),
    "the plan's own draw": (
        "def request(self, context):\n    return super().request(context, 'labels')",
        "outside its plan",
    ),
    "a request of no size": (
        "def request(self, context):\n    return StatisticRequest('counts', ClassRule(()), (CountBlock(1.0),))",
        "no meaning",
    ),
}
"""What comes to light before anything is drawn: the run fails, nothing is charged."""

AFTER = {
    "a second request": (
        "def run(self, context):\n    yield self.request(context)\n    yield self.request(context)",
        "a second time",
    ),
    "too few rows": (
        "def rows(self, context, release):\n    return Rows(('one',), ('good',), None, ('good',))",
        "returned 1 texts",
    ),
    "other labels": (
        "def rows(self, context, release):\n    return Rows(('x',) * 10, ('ugly',) * 10, None, ('good',))",
        "not in the label list",
    ),
    "numbers for texts": (
        "def rows(self, context, release):\n    return Rows((5,) * 10, ('good',) * 10, None, ('good',))",
        "cannot be read",
    ),
    "half a character": (
        "def rows(self, context, release):\n    return Rows(('\\ud800',) * 10, ('good',) * 10, None, ('good',))",
        "cannot be read|failed",
    ),
    "soft labels that are none": (
        "def rows(self, context, release):\n"
        "    return Rows(('x',) * 10, ('good',) * 10, np.full((10, 1), np.nan), ('good',))",
        "soft labels",
    ),
    "facts that are none": (
        "def rows(self, context, release):\n    return super().rows(context, release, {'n': float('inf')})",
        "cannot be read",
    ),
    "too many facts": (
        "def rows(self, context, release):\n    return super().rows(context, release, {'n': 'x' * 10**6})",
        "cannot be read",
    ),
    "no rows": ("def rows(self, context, release):\n    return 'rows'", "failed: TypeError"),
    "an end": ("def rows(self, context, release):\n    import sys\n    sys.exit(0)", "ended with code 0"),
}
"""What comes to light when the statistic is drawn: it stays charged, once."""


@pytest.mark.parametrize("what", BEFORE)
def test_a_guest_that_misbehaves_while_planning_costs_nothing(install: Install, told: Told, what: str) -> None:
    body, sentence = BEFORE[what]
    install(body)
    with pytest.raises(RecipeError, match=sentence) as refused:
        told.generate()
    assert (refused.value.exit_code, told.charged) == (2, 0.0)
    assert "recipe 'acme' of package acme_recipe 2.5" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert not told.run.exists()


@pytest.mark.parametrize("what", LATER)
def test_a_guest_that_asks_for_what_it_may_not_is_charged_nothing(install: Install, told: Told, what: str) -> None:
    body, sentence = LATER[what]
    install(body)
    with pytest.raises((RecipeError, PrivacyError), match=sentence) as refused:
        told.generate()
    assert (refused.value.exit_code, told.charged) == (2, 0.0)
    assert "secret" not in str(refused.value)
    assert not (told.run / "candidate" / "data.parquet").exists()


@pytest.mark.parametrize("what", AFTER)
def test_a_guest_that_misbehaves_after_the_draw_is_charged_once(install: Install, told: Told, what: str) -> None:
    body, sentence = AFTER[what]
    install(body)
    with pytest.raises(RecipeError, match=sentence) as refused:
        told.generate()
    assert refused.value.exit_code == 2
    assert 3.96 < told.charged <= 4.0
    assert json.loads((told.run / "run.json").read_text())["status"] == "failed"
    assert not (told.run / "candidate" / "data.parquet").exists()


def test_an_honest_guest_is_never_imported_and_is_named_in_the_claim(install: Install, told: Told) -> None:
    install("def rows(self, context, release):\n    print('x' * 10**6)\n    return super().rows(context, release)")
    run = told.generate()
    claim = read_claim(run)
    assert claim.recipe == "acme", "the name of the entry point, whatever the recipe calls itself"
    assert claim.plug_in is not None
    assert (claim.plug_in.package, claim.plug_in.version) == ("acme_recipe", "2.5")
    assert "acme_recipe" not in sys.modules
    assert 3.96 < told.charged <= 4.0
    assert len(run.manifest().facts["counts"]) == 2
    intent = pipeline.plan(told.config)
    assert any("of package acme_recipe 2.5, in a process of its own" in line for line in intent.lines())
    assert (intent.as_dict()["plug_in"] or {})["package"] == "acme_recipe"


FORECAST = """
def forecast(self, task, noise_multipliers):
    from privdistill.recipes.forecast import BlockForecast, Forecast, statistic_forecast
    if task.rows == 10:
        return Forecast((BlockForecast("count", noise_multipliers["counts"], 1),), 10, 0, ("as I said",))
    return statistic_forecast(noise_multipliers["counts"], 10)
"""


@pytest.mark.parametrize("rows", [10, 11])
def test_a_guest_may_forecast(install: Install, told: Told, rows: int) -> None:
    """In its own process, by the positions and names that earlier versions had."""
    install(FORECAST)
    source = told.config.source.model_copy(update={"labels": tuple(f"c{i}" for i in range(20))})
    synthesis = told.config.synthesis.model_copy(update={"rows": rows})
    plan = pipeline.plan(told.config.model_copy(update={"source": source, "synthesis": synthesis}))
    assert plan.forecast is not None
    assert plan.forecast.remarks == (("as I said",) if rows == 10 else ())
    assert plan.forecast.texts == 10
    assert plan.per_class == pytest.approx(400 * 0.7 / 20), "declared labels count where a forecast names no classes"


def test_a_built_in_name_cannot_be_taken_and_two_of_a_name_are_refused(install: Install) -> None:
    install(name="distribution", module="impostor")
    assert type(find_recipe("distribution")).__module__ == "privdistill.recipes.distribution"
    install(name="acme", module="first")
    install(name="acme", module="second")
    install(name="\x1b[2J", module="painter")
    assert "acme" in recipe_names()
    assert all(name.isprintable() for name in recipe_names())
    with pytest.raises(ConfigError, match="offered by 2 packages"):
        find_recipe("acme")


def test_no_process_and_no_folder_is_left_behind(install: Install, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    place = told.run.parent / "lodgings"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr("tempfile.tempdir", None)
    install("def request(self, context):\n    import os, time\n    os.fork() or time.sleep(600)\n    return 5")
    with pytest.raises(RecipeError, match="for built-in recipes"):
        told.generate()
    assert not list(place.iterdir())
    left = [_read(about) for about in Path("/proc").glob("[0-9]*/environ")]
    assert not [environment for environment in left if str(place).encode() in environment]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
