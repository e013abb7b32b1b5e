"""`auto` is a public rule: it gives reasons, and never takes what no benchmark has shown to win."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audits.accounting import recompute
from audits.findings import Mechanism
from privdistill.config import Performance, Privacy, RunConfig, Source, Synthesis
from privdistill.errors import PrivacyError
from privdistill.planning import make_plan
from privdistill.recipes import auto, finetune
from privdistill.recipes.auto import PROVEN, Machine, choose, this_machine
from privdistill.recipes.base import Task
from privdistill.recipes.registry import find_recipe, recipe_names


def task(size: int | None, epsilon: float, classes: int, rows: int) -> Task:
    labels = tuple(str(i) for i in range(classes)) or None
    return Task(bool(classes), labels, None, {}, None, rows, size, epsilon, 1e-6)


@given(
    st.one_of(st.none(), st.integers(1, 10**8)),
    st.floats(0.1, 16),
    st.integers(0, 60),
    st.integers(1, 5000),
)
def test_only_what_is_proven_is_chosen_and_always_with_a_reason(
    size: int | None, epsilon: float, classes: int, rows: int
) -> None:
    name, why = choose(task(size, epsilon, classes, rows), 0.8, Machine(2, False))
    assert name in PROVEN
    assert why
    assert all(reason.strip() for reason in why)


def test_the_rule_says_what_might_fit_and_takes_it_once_it_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    large = task(10**7, 8.0, 2, 100)
    name, why = choose(large, 1.5, Machine(2000, False))
    assert name == "distribution"
    assert [reason.split()[0] for reason in why[1:]] == ["finetune", "evolution"]
    monkeypatch.setattr(auto, "PROVEN", frozenset({"distribution", "evolution"}))
    assert choose(large, 1.5, Machine(2, False))[0] == "evolution"
    assert choose(task(500, 8.0, 2, 100), 1.5, Machine(2, False))[0] == "distribution"
    assert len(choose(task(500, 8.0, 2, 100), 1.5, Machine(2, False))[1]) == 1


@pytest.mark.parametrize("recipe", ["auto", "distribution", "finetune"])
def test_an_accelerator_counts_only_where_the_run_may_use_it(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default everything runs on the processor, and `finetune` always does."""
    monkeypatch.setattr("privdistill.planning.this_machine", lambda: Machine(2, True))
    plain = config(recipe, size=40_000)
    plan = make_plan(plain)
    assert not plan.machine.accelerator
    assert "accelerator" not in "\n".join(plan.lines())
    if recipe == "finetune":  # which is refused on more than the processor
        return
    spread = make_plan(plain.model_copy(update={"performance": Performance(device_map="auto")}))
    assert "on 2 cores; with the accelerator that is there it was not timed" in "\n".join(spread.lines())
    assert spread.why == plan.why


def test_a_generator_is_worth_a_thought_where_the_machine_trains_it_within_an_hour() -> None:
    asked = task(40_000, 8.0, 2, 100)
    reasons = [" ".join(choose(asked, 1.5, Machine(cores, True))[1]) for cores in (1, 2, 16)]
    assert "finetune" not in reasons[0]
    assert "finetune might fit (40000 declared records at epsilon 8 can teach a generator in about" in reasons[2]
    assert "finetune" not in " ".join(choose(task(40_000, 1.0, 2, 100), 1.5, Machine(16, True))[1])


def test_the_time_of_training_is_that_which_the_recipe_itself_foretells() -> None:
    """`auto` stands below the recipes, so it cannot ask them."""
    seconds = finetune._SECONDS_BELOW + finetune._EPOCHS * finetune._SECONDS_ABOVE
    assert pytest.approx(seconds, abs=0.005) == auto._FINETUNE_CORE_SECONDS


def test_what_is_proven_exists() -> None:
    assert set(recipe_names()) >= PROVEN
    assert this_machine().cores >= 1


def config(recipe: str, *, classes: int = 2, size: int | None = 12_000, epsilon: float | None = 4.0) -> RunConfig:
    return RunConfig(
        source=Source(path="x", label_column="y", labels=tuple(f"c{i}" for i in range(classes)), size=size),
        privacy=Privacy(epsilon=epsilon),
        synthesis=Synthesis(recipe=recipe),
    )


@pytest.mark.parametrize("recipe", ["auto", "distribution", "metamodel", "gradient", "trajectory", "evolution"])
def test_a_plan_shows_noise_steps_shares_time_and_noise_to_signal(recipe: str) -> None:
    plan = make_plan(config(recipe))
    text = "\n".join(plan.lines())
    assert "noise_multiplier" in text
    assert "of the budget" in text
    assert " min for " in text
    assert ("one release for everything" in text) == (recipe == "auto")
    assert ("100 steps at sample rate 0.085" in text) == (recipe == "trajectory")
    assert sum(plan.shares.values()) == pytest.approx(1)
    blocks = {block["name"]: block for block in plan.as_dict()["forecast"]["blocks"]}
    assert all(block["noise_to_signal"] > 0 for block in blocks.values()), "of each block, without exception"
    assert ("gradient" in blocks) == (recipe == "gradient")
    assert ("steps the expert's noise is" in text) == (recipe == "trajectory")


def test_noise_to_signal_is_the_noise_of_a_block_over_its_records() -> None:
    plan = make_plan(config("distribution"))
    count = plan.as_dict()["forecast"]["blocks"][0]
    noise, expected = plan.budget.noise_multipliers["statistic"], 12_000 * 0.7 / 2
    weight, total = 1.0, plan.recipe.noise_floor(plan.task, {"statistic": noise}) / 5
    assert count["deviation_in_records"] == pytest.approx(total / weight)
    assert count["noise_to_signal"] == pytest.approx(total / expected)
    undeclared = make_plan(config("distribution", size=None))
    assert undeclared.as_dict()["forecast"]["blocks"][0]["noise_to_signal"] is None


def test_hopeless_settings_are_refused_before_anything_is_spent() -> None:
    with pytest.raises(PrivacyError, match="too small"):
        make_plan(config("auto", size=40)).feasible()
    with pytest.raises(PrivacyError, match="merge classes"):
        make_plan(config("auto", classes=300, size=10**6)).feasible()
    with pytest.raises(PrivacyError, match="epsilon is not set"):
        make_plan(config("auto", epsilon=None))


def test_every_built_in_recipe_but_passthrough_plans_the_whole_budget() -> None:
    for name in set(recipe_names()) - {"passthrough"}:
        planned = find_recipe(name).mechanisms(task(10_000, 4.0, 3, 100))
        assert sum(one.share for one in planned) == pytest.approx(1)


@pytest.mark.parametrize("recipe", ["trajectory", "evolution"])
def test_the_examiner_finds_no_more_epsilon_than_the_plan_claims(recipe: str) -> None:
    """Its own library, over mechanisms as the claim lists them: epsilon and every point of the profile."""
    plan = make_plan(config(recipe))
    mechanisms = tuple(
        Mechanism(
            name=one.name,
            kind=one.kind,
            noise_multiplier=one.noise_multiplier,
            sample_rate=one.sample_rate,
            steps=one.steps,
            sensitivity=1.0,
            sensitivity_parts={"whole": 1.0},
            sampler="full-batch" if one.sample_rate == 1 else "poisson",
            noise="discrete-gaussian" if one.sample_rate == 1 else "float-gaussian",
            dimension=1,
            noise_grid_steps=plan.budget.grid_steps if one.sample_rate == 1 else None,
            delta_discretisation=0.0,
            delta_threshold=0.0,
        )
        for one in plan.mechanisms
    )
    found = recompute(mechanisms, plan.budget.delta_composition)
    assert found.epsilon <= plan.budget.epsilon * 1.001
    assert all(found.delta_at(point * 1.001) <= delta * 1.01 + 1e-15 for point, delta in plan.budget.profile)
