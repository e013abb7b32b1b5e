"""An evaluation as text for people who may see internal numbers; 100 columns at most.

It computes nothing and knows no run.
"""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from audits.findings import Estimate
from privdistill.evaluation.schema import Evaluation, Trained
from privdistill.report.plain import plain

__all__ = ["render_evaluation"]

_WIDTH = 96
_NAME = 32
_CLASSES = 12
"""Classes and groups shown in full; of more, the ones that do worst."""


def render_evaluation(evaluation: Evaluation) -> str:
    """Every table that was measured, then what was not."""
    parts = [
        _head(evaluation),
        _utility(evaluation),
        _classes(evaluation),
        _groups(evaluation),
        _curve(evaluation),
        _gap(evaluation),
        _closeness(evaluation),
        _variety(evaluation),
        _cost(evaluation),
        _left_out(evaluation),
    ]
    return "\n".join("\n".join(part) + "\n" for part in map(list, parts) if part)


def _head(found: Evaluation) -> Iterator[str]:
    yield "INTERNAL  computed on private records without noise: not for a bundle, a paper or a customer"
    for run in found.runs:
        claimed = "claims nothing" if run.epsilon is None else f"epsilon {run.epsilon:.4g}, delta {run.delta:.3g}"
        made = f"{run.rows} rows" + (" by a resumed run" if run.seconds is None else f" in {run.seconds:.0f} s")
        yield f"  run {plain(run.run_id)}  recipe {plain(run.recipe)}, {claimed}, {made}"
    yield f"  test records {found.test_records}, classes {len(found.classes) or 'none'}"
    if found.test_dropped:
        yield f"  {found.test_dropped} more of the test file were left out: the run was made from the same texts"
    if found.test_outside_classes:
        yield f"  {found.test_outside_classes} of them have a label that no row can have: every student gets them wrong"


def _utility(found: Evaluation) -> Iterator[str]:
    names = [student.name for student in found.students]
    if not names:
        return
    for title, field in (
        ("accuracy", "accuracy"),
        ("macro-F1", "macro_f1"),
        ("balanced accuracy", "balanced_accuracy"),
    ):
        yield f"UTILITY  {title} on test records, ± the farther end of its 95 % interval over test records"
        yield f"  {'trained on':{_NAME}}{'rows':>6}  " + "".join(f"{name:>13}" for name in names)
        rows: dict[str, dict[str, Trained]] = {}
        for cell in found.utility:
            rows.setdefault(cell.trained_on, {})[cell.student] = cell
        for what, cells in rows.items():
            one = next(iter(cells.values()))
            mark = "*" if one.origin == "non-private reference" else ""
            shown = "".join(f"{_short(getattr(cells[name], field)):>13}" for name in names)
            yield f"  {plain(what) + mark:{_NAME}}{one.rows:>6}  {shown}"
        yield from _beside(found, names, field)
        yield ""
    yield "  * non-private reference: real records, published by nobody"
    for student in found.students:
        seen = "; rows were chosen by what it reads: an upper view" if student.seen_by_generator else ""
        on = f"; stands on {plain(student.stands_on)}" if student.stands_on else ""
        told = f"{student.name}: {student.about}{on}{seen}"
        yield from wrap(told, _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _beside(found: Evaluation, names: Sequence[str], field: str) -> Iterator[str]:
    """Lines below a table: generations; below the accuracies also shares of real and the majority class."""
    cells = {cell.student: cell for cell in found.utility if cell.trained_on == "synthetic"}
    over = [cells[name].generations for name in names]
    if any(over):
        shown = "".join(f"{_short(getattr(one, field)) if one else '':>13}" for one in over)
        yield f"  {f'synthetic, over {len(found.runs)} generations':{_NAME}}{'':>6}  {shown}"
    if found.teacher is not None:
        yield f"  {'DP teacher, no rows between':{_NAME}}{'':>6}  {_short(getattr(found.teacher, field)):>13}"
        again = found.teacher.generations
        if again is not None:
            name = f"DP teacher, over {len(found.runs)} generations"
            yield f"  {name:{_NAME}}{'':>6}  {_short(getattr(again, field)):>13}"
    if field != "accuracy":
        return
    if found.teacher is not None:
        for what, ratios in (
            ("DP teacher minus synthetic", found.teacher.ahead),
            ("DP teacher, as a share of real", found.teacher.of_real),
        ):
            if ratios:
                shown = "".join(f"{_short(ratios[name]) if name in ratios else '':>13}" for name in names)
                yield f"  {what:{_NAME}}{'':>6}  {shown}"
    shares = [cells[name].of_real for name in names]
    if any(shares):
        shown = "".join(f"{_short(one) if one else '':>13}" for one in shares)
        yield f"  {'synthetic, as a share of real':{_NAME}}{'':>6}  {shown}"
    if found.majority is not None:
        yield f"  {'commonest synthetic label':{_NAME}}{'':>6}  {_short(found.majority):>13}"


def _classes(found: Evaluation) -> Iterator[str]:
    if not found.per_class:
        return
    names = [student.name for student in found.students]
    recalls = {(one.label, one.student): one for one in found.per_class}
    labels = list(dict.fromkeys(one.label for one in found.per_class))
    worst = sorted(labels, key=lambda label: recalls[label, names[0]].recall.value)
    shown = labels if len(labels) <= _CLASSES else worst[:_CLASSES]
    yield "CLASSES  recall by class, students trained on the synthetic rows; n test records, m rows"
    yield f"  {'class':{_NAME - 8}}{'n':>7}{'m':>7}  " + "".join(f"{name:>13}" for name in names)
    for label in shown:
        one = recalls[label, names[0]]
        cells = "".join(f"{_short(recalls[label, name].recall):>13}" for name in names)
        yield f"  {_cut(plain(label), _NAME - 9):{_NAME - 8}}{one.recall.n:>7}{one.trained_rows:>7}  {cells}"
    if len(shown) < len(labels):
        yield f"  the {len(shown)} classes that student {names[0]} does worst on, of {len(labels)}; --json has all"


def _groups(found: Evaluation) -> Iterator[str]:
    if not found.per_group:
        return
    names = [student.name for student in found.students]
    cells = {(one.group, one.student): one.accuracy for one in found.per_group}
    groups = sorted({one.group for one in found.per_group}, key=lambda group: cells[group, names[0]].value)
    yield "GROUPS  accuracy by group of test records, worst first"
    yield f"  {'group':{_NAME}}{'n':>6}  " + "".join(f"{name:>13}" for name in names)
    for group in groups[:_CLASSES]:
        shown = "".join(f"{_short(cells[group, name]):>13}" for name in names)
        yield f"  {_cut(plain(group), _NAME - 1):{_NAME}}{cells[group, names[0]].n:>6}  {shown}"
    if len(groups) > _CLASSES:
        yield f"  the worst {_CLASSES} of {len(groups)}; --json has all"


def _curve(found: Evaluation) -> Iterator[str]:
    if not found.curve:
        return
    counts = sorted({point.per_class for point in found.curve})
    yield "FEW ROWS  accuracy with so many rows of each class (random: mean of several draws)"
    for student in dict.fromkeys(point.student for point in found.curve):
        points = [point for point in found.curve if point.student == student]
        yield f"  {'student ' + student:{_NAME}}" + "".join(f"{count:>13}" for count in counts)
        for name in dict.fromkeys(point.trained_on for point in points):
            own = {point.per_class: point for point in points if point.trained_on == name}
            mark = "*" if next(iter(own.values())).origin == "non-private reference" else ""
            shown = "".join(f"{_short(own[count].accuracy) if count in own else '-':>13}" for count in counts)
            yield f"    {plain(name) + mark:{_NAME - 2}}{shown}"


def _gap(found: Evaluation) -> Iterator[str]:
    if not found.discretisation:
        return
    yield "DISCRETISATION  k-means centres of each class against the texts nearest to them, encoder student"
    yield f"  {'made of':{_NAME}}{'a class':>8}{'vectors':>14}{'texts':>14}{'lost':>16}"
    for one in found.discretisation:
        mark = "*" if one.origin == "non-private reference" else ""
        cells = f"{_short(one.embedding_level):>14}{_short(one.text_level):>14}{_short(one.gap):>16}"
        yield f"  {plain(one.trained_on) + mark:{_NAME}}{one.per_class:>8}{cells}"


def _closeness(found: Evaluation) -> Iterator[str]:
    if not found.closeness:
        return
    n = found.closeness[0].synthetic.n
    yield f"CLOSENESS  to test records, {n} against {n}; what real training records reach stands beside"
    yield f"  {'space':16}{'measure':{_NAME - 10}}{'synthetic':>18}{'real*':>18}"
    for one in found.closeness:
        real = _short(one.real) if one.real else "-"
        yield f"  {one.space:16}{_MEASURES[one.measure]:{_NAME - 10}}{_short(one.synthetic):>18}{real:>18}"


_MEASURES = {
    "frechet": "Fréchet (0 equal)",
    "mauve": "MAUVE-style (1 equal)",
    "precision": "precision, 5-NN",
    "recall": "recall, 5-NN",
}


def _variety(found: Evaluation) -> Iterator[str]:
    if not found.variety:
        return
    yield f"TEXTS  {'':{_NAME + 17}}{'synthetic':>18}{'real*':>18}"
    for one in found.variety:
        real = _short(one.real) if one.real else "-"
        *before, last = wrap(plain(one.measure), _NAME + 20, subsequent_indent="  ") or [""]
        yield from (f"  {line}" for line in before)
        yield f"  {last:{_NAME + 22}}{_short(one.synthetic):>18}{real:>18}"


def _cost(found: Evaluation) -> Iterator[str]:
    if not found.cost:
        return
    took = found.cost[0].distilling
    made = "how long making the rows took is not known" if took is None else f"making the rows took {took:.0f} s"
    yield f"COST  {made}; one training, seconds, on this machine"
    yield f"  {'student':16}{'on the rows':>14}{'on real*':>14}{'paid off after':>20}"
    for one in found.cost:
        never = "not known" if one.distilling is None and one.training_synthetic < one.training_real else "never"
        after = f"{one.break_even:,.0f} trainings" if one.break_even is not None else never
        yield f"  {one.student:16}{one.training_synthetic:>14.2f}{one.training_real:>14.2f}{after:>20}"


def _left_out(found: Evaluation) -> Iterator[str]:
    if found.not_measured:
        yield "NOT MEASURED"
    for sentence in found.not_measured:
        yield from wrap(plain(sentence), _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _short(one: Estimate) -> str:
    """Value and distance to the farther end of its interval; --json has both ends."""
    digits = 3 if max(abs(one.value), abs(one.high)) < 10 else 1
    return f"{one.value:.{digits}f} ±{max(one.high - one.value, one.value - one.low):.{digits}f}".replace(" ±0.", " ±.")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
