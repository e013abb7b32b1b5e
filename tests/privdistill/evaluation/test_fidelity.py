from privdistill.evaluation.fidelity import form_of, length_distance


def test_faults_of_form_are_counted() -> None:
    texts = ["Sure, here it is.", "A film that never ends", "A film that never ends", "My short movie reviews."]
    report = form_of(texts, "short movie reviews")
    assert report.preambles == 0.25
    assert report.unfinished == 0.5
    assert report.near_duplicates == 0.25
    assert report.echoes == 0.25
    assert report.repeated_openings == 0.5


def test_no_texts_are_no_faults() -> None:
    assert form_of([]).near_duplicates == 0.0


def test_length_distance_is_zero_for_the_same_and_one_for_disjoint() -> None:
    short, long = ["a b c"] * 5, [" ".join("w" * 30)] * 5
    assert length_distance(short, short) == 0.0
    assert length_distance(short, long) == 1.0
    assert length_distance([], short) == 1.0
