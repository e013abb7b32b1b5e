from benchmarks.table import markdown


def _results(runs: list[dict]) -> dict:
    around = {"date": "2026-01-01", "processor": "p", "cores": 2, "python": "3.11", "versions": {"numpy": "1"}}
    around |= {"performance": {"pool_factor": None}}
    both = {"words": 0.8, "embedding": 0.9}
    references = {"real_all_private": both, "zero_shot": both, "majority": 0.5}
    one = {"circumstances": around, "commit": "abc", "references": references, "epsilon": {"8": runs}}
    return {"rows": 10, "corpora": {"toys": one}}


def _run(words: float) -> dict:
    form = dict.fromkeys(("near_duplicates", "preambles", "unfinished", "echoes", "repeated_openings"), 0.0)
    return {
        "synthetic": {"words": words, "embedding": 0.8}, "real": {"words": 0.8, "embedding": 0.9}, "teacher": 0.9,
        "intervals": {"words": [words - 0.02, words + 0.03], "embedding": [0.7, 0.9]},
        "tested": 1200, "seconds": 3, "form": form, "length_distance": 0.1,
    }  # fmt: skip


def test_one_generation_has_the_interval_over_test_records() -> None:
    text = markdown(_results([_run(0.6)]))
    assert "0.600 (0.580 to 0.630) | 0.750" in text
    assert "toys: 1,200 test records;" in text


def test_several_generations_have_their_own_spread_instead() -> None:
    text = markdown(_results([_run(0.6), _run(0.7)]))
    assert "0.650 ± 0.071 | 0.812" in text
    assert "(0.580" not in text


def test_what_was_measured_before_intervals_were_kept_has_none() -> None:
    old = _run(0.6)
    del old["intervals"], old["tested"]
    assert "| 0.600 | 0.750 |" in markdown(_results([old]))


def test_generations_of_several_commits_are_told_apart() -> None:
    results = _results([_run(0.6), _run(0.7) | {"commit": "def"}])
    results["corpora"]["toys"]["epsilon"]["1"] = [_run(0.5)]
    assert "commits abc and def (epsilon 8), abc (epsilon 1), candidates" in markdown(results)


def test_both_students_are_marked_as_seen_by_the_choice_of_rows() -> None:
    assert "| TF-IDF (seen) | of real | MiniLM (seen) | of real |" in markdown(_results([_run(0.6)]))
