"""NAT × NAT: which blocks are a map, and what its cells say."""

from __future__ import annotations

from dataclasses import replace

from icekit.bench.canvas import Box, Drawing, Text
from icekit.bench.nat_map import groups_of_nats, nat_map
from icekit.bench.samples import Sample
from icekit.bench.summary import blocks, summarise
from tests.bench.made import SETTING, timed

NETWORKS = ("host", "symmetric", "symmetric--port-restricted")


def samples(network: str, *seconds: float | None, engine: str = "icekit") -> list[Sample]:
    return timed(seconds, setting=replace(SETTING, network=network, engine=engine))


def drawn(some: list[Sample]) -> Drawing:
    ((title, group),) = groups_of_nats(blocks(summarise(some)))
    assert title == "RTT 50 ms, simulator"
    return nat_map("nats", title, group)


def test_conditions_that_differ_in_their_nats_alone_are_a_map() -> None:
    other = replace(SETTING, network="host", rtt=0.3)
    some = [sample for name in (*NETWORKS, "relay-only", "of another tool") for sample in samples(name, 0.2)]
    ((_, group),) = groups_of_nats(blocks(summarise([*some, *timed([0.2], setting=other)])))
    assert [block.entries[0].setting.network for block in group] == list(NETWORKS)
    assert list(groups_of_nats(blocks(summarise(some[:2])))) == []


def test_a_cell_says_what_became_of_its_calls() -> None:
    relayed = replace(samples("symmetric", 0.4)[0], path="relay", run=1)
    some = [
        *samples("host", 0.2, 0.2),
        *(*samples("symmetric", None), relayed),
        *samples("symmetric--port-restricted", None, None),
    ]
    drawing = drawn(some)
    texts = [shape.text for shape in drawing.shapes if isinstance(shape, Text)]
    assert [text for text in texts if text[0].isdigit() or text == "fails"] == [
        "200",
        "400",
        "1 fail, 1 relayed",
        "fails",
    ]
    assert [text for text in texts if text in ("open", "port-restricted", "symmetric")] == [
        *("open", "symmetric"),
        *("open", "port-restricted", "symmetric"),
    ]
    boxes = [shape for shape in drawing.shapes if isinstance(shape, Box)]
    # The further above the limit the darker, and black on light as well as white on dark.
    assert [sum(bytes.fromhex(box.fill[1:])) > 380 for box in boxes[:2]] == [True, False]
    inks = {shape.text: shape.colour for shape in drawing.shapes if isinstance(shape, Text)}
    assert (inks["200"], inks["400"], inks["fails"]) == ("#000000", "#ffffff", "bad")
    assert (boxes[2].fill, boxes[2].edge) == ("paper", "bad")


def test_engines_stand_side_by_side_within_the_drawing() -> None:
    engines = [f"engine-{number}" for number in range(9)]
    drawing = drawn([sample for name in NETWORKS for engine in engines for sample in samples(name, 0.2, engine=engine)])
    boxes = [shape for shape in drawing.shapes if isinstance(shape, Box)]
    assert len(boxes) == 27
    assert max(box.x + box.width for box in boxes) < 960
    assert max(box.y + box.height for box in boxes) < drawing.height
    # None lies on another.
    assert len({(box.x, box.y) for box in boxes}) == 27
