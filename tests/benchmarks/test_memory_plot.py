"""The picture of memory: every measured point is on it, higher where more was taken."""

from xml.etree import ElementTree

from benchmarks.memory_plot import memory_svg


def test_each_kind_has_a_curve_in_each_panel_and_more_memory_is_higher() -> None:
    curves = {
        "physical": [
            {"kind": kind, "physical": n, "logical": 32, "above_start_gib": n * scale / 1024}
            for kind, scale in (("plain", 4), ("private", 6))
            for n in (8, 16, 32)
        ],
        "logical": [{"kind": "private", "physical": 8, "logical": n, "above_start_gib": 0.05} for n in (16, 64)],
    }
    root = ElementTree.fromstring(memory_svg(curves))
    space = "{http://www.w3.org/2000/svg}"
    drawn = [one.get("points", "") for one in root.iter(f"{space}polyline")]
    plain, private, flat = [path for path in drawn if path][:3]
    heights = [[float(place.split(",")[1]) for place in path.split()] for path in (plain, private, flat)]
    assert heights[0] == sorted(heights[0], reverse=True)
    assert all(more < less for more, less in zip(heights[1], heights[0], strict=True))
    assert heights[2][0] == heights[2][1]
    assert len(list(root.iter(f"{space}circle"))) == 8
