import numpy as np

from privdistill.synthesis.clusters import cluster_rule, nearest


def test_separate_clouds_get_a_centre_each() -> None:
    rng = np.random.default_rng(0)
    clouds = np.repeat(np.eye(3) * 10, 40, axis=0) + 0.1 * rng.standard_normal((120, 3))
    rule = cluster_rule(clouds, 3, rng)
    assert rule.names == ("cluster-0", "cluster-1", "cluster-2")
    owner = nearest(clouds, rule.centres)
    assert {len(set(owner[i : i + 40])) for i in (0, 40, 80)} == {1}
    assert len(set(owner)) == 3


def test_there_are_never_more_clusters_than_texts() -> None:
    assert len(cluster_rule(np.ones((2, 3)), 8, np.random.default_rng(0)).names) == 2
