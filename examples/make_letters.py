"""Invents a small corpus of complaint letters, and two synthetic files "made" from it: a clean one and one that copies.

    python examples/make_letters.py DIR

writes source.csv (what a generator read), holdout.csv (letters of the same kind that it never saw), clean.csv and
leaky.csv (every fifth row is a letter of the source). Nothing in it is about anybody.
"""

import csv
import random
import sys
from pathlib import Path

WHO = "neighbour daughter father colleague tenant friend landlord nephew aunt brother cousin grandson".split()
LOOK = "green heavy foldable second-hand wooden tiny brass striped borrowed antique leather silver".split()
WHAT = "parcel boiler ticket bicycle sofa contract telephone window lamp kettle carpet ladder wardrobe heater".split()
FAULT = "arrived broken,was never delivered,stopped working,was charged twice,went missing,leaks,hums at night".split(
    ","
)
FIRST = "Ash Mill Nor Quay Stan Elm Har Winter Brook Cold Fair Long Red Wester Oak Thorn Marl Hay".split()
SECOND = "ford town field bury ley wick ham stead combe bridge gate mere don hurst worth thorpe".split()
WISH = "refund it,send somebody,write back,replace it,explain this,cancel the order,call my office,collect it".split(
    ","
)
MOOD = "I am patient,I am tired,we are upset,we still hope,nobody listens,it is cold here,my knee hurts".split(",")
ROWS = (2_500, 1_500, 800)


def letter(draw: random.Random) -> tuple[str, str]:
    """One letter and its kind."""
    place, other = (draw.choice(FIRST) + draw.choice(SECOND) for _ in range(2))
    thing = f"the {draw.choice(LOOK)} {draw.choice(WHAT)} of my {draw.choice(WHO)} in {place} {draw.choice(FAULT)}"
    price = f"cost {draw.randrange(10, 999)} pounds"
    clauses = [
        thing,
        f"it {price}",
        f"{draw.choice(MOOD)} near {other}",
        f"file {draw.randrange(10_000, 99_999)} is open",
    ]
    draw.shuffle(clauses)
    wish = draw.choice(WISH)
    return f"{', '.join(clauses)}; please {wish}.".capitalize(), "money" if wish in WISH[:1] + WISH[5:6] else "service"


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write rows as csv."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def main(folder: Path) -> None:
    """Write the four files."""
    draw = random.Random(20260101)
    source, holdout, clean = ([letter(draw) for _ in range(n)] for n in ROWS)
    leaky = [draw.choice(source) if i % 5 == 0 else row for i, row in enumerate(clean)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("source", source), ("holdout", holdout), ("clean", clean), ("leaky", leaky)):
        write(folder / f"{name}.csv", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
