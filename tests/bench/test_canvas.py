"""Files of drawings: nothing is loaded, both looks are in them, and the same data give the same file."""

from __future__ import annotations

import re
import sys
from io import BytesIO
from xml.etree import ElementTree

import pytest
from PIL import Image

from icekit.bench.canvas import LOOKS, WIDTH, Box, Drawing, Line, Polygon, Shape, Text, png, require, style, svg
from icekit.bench.plots import drawings
from icekit.errors import MissingExtra
from tests.bench.made import LATE, results, some_results, timed


def drawing(*shapes: Shape, height: float = 100.0) -> Drawing:
    return Drawing("name", "A title <&>", None, height, shapes)


def test_nothing_is_loaded_and_both_looks_are_there() -> None:
    for item in drawings(results(timed([0.1, None]))):
        file = svg(item)
        assert file.startswith("<svg xmlns=")
        assert "@media (prefers-color-scheme:dark)" in file
        assert 'role="img"' in file
        for never in ("<image", "<script", "<metadata", "href=", "url("):
            assert never not in file


def test_the_same_data_give_the_same_file() -> None:
    made = some_results(runs=3, engines={"icekit": LATE["icekit"]})
    first, second = ([(item.name, svg(item), png(item)) for item in drawings(made)] for _ in range(2))
    assert first == second


def test_inside_a_page_the_page_has_the_style() -> None:
    inside = svg(drawing(Text(1, 2, "<b>")), alone=False)
    assert inside.startswith('<svg class="plot" viewBox="0 0 960 100" role="img" aria-label="A title &lt;&amp;&gt;"')
    assert "<style" not in inside
    assert all(rule in style() for rule in (".b{font-weight:bold}", ".m{text-anchor:middle}", ".e{text-anchor:end}"))
    assert '<text class="ink" x="1" y="2">&lt;b&gt;</text>' in inside
    used = set(re.findall(r'class="(\w+)(?:-l)?"', inside)) - {"plot"}
    assert used <= LOOKS.keys()
    assert all(light in style() and dark in style() for light, dark in LOOKS.values())


def test_every_shape_as_svg() -> None:
    shapes = (
        Box(1.04, 2, 3, 4, "over", edge="bad"),
        Line(((0, 0), (10, 5)), "ink", 2, (3, 2)),
        Polygon(((0, 0), (1, 0), (0, 1)), "#123456"),
        Text(5, 6, "x", "dim", size=9, anchor="end", bold=True, angle=90),
    )
    box, edge, line, polygon, text = list(ElementTree.fromstring(svg(drawing(*shapes), alone=False)))
    assert (box.get("class"), box.get("x"), box.get("height")) == ("over", "1", "4")
    assert (edge.get("class"), edge.get("stroke-dasharray")) == ("bad-l", "3 2")
    assert (line.get("d"), line.get("stroke-width"), line.get("stroke-dasharray")) == ("M0 0L10 5", "2", "3 2")
    assert (polygon.get("d"), polygon.get("fill")) == ("M0 0L1 0L0 1z", "#123456")
    assert (text.get("class"), text.get("font-size"), text.get("transform")) == ("dim b e", "9", "rotate(-90 5 6)")


def pixels(*shapes: Shape) -> Image.Image:
    return Image.open(BytesIO(png(drawing(*shapes)))).convert("RGB")


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(LOOKS[colour][0][1:]))


def test_every_shape_as_png() -> None:
    image = pixels(
        Box(100, 10, 50, 20, "over"),
        Line(((200, 20), (260, 20)), "ink", 4),
        Line(((300, 20), (360, 20)), "ink", 4, (20, 20)),
        Polygon(((400, 10), (440, 10), (440, 50), (400, 50)), "engine0"),
    )
    assert image.size == (WIDTH * 1.5, 150)
    seen = {x: image.getpixel((int(x * 1.5), 30)) for x in (50, 125, 230, 310, 330, 350, 420)}
    paper, ink = rgb("paper"), rgb("ink")
    assert seen == {50: paper, 125: rgb("over"), 230: ink, 310: ink, 330: paper, 350: ink, 420: rgb("engine0")}


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (Text(480, 50, "mmmm"), (480, 530, 40, 52)),
        (Text(480, 50, "mmmm", anchor="end"), (430, 481, 40, 52)),
        (Text(480, 50, "mmmm", anchor="middle", bold=True), (455, 505, 40, 52)),
        (Text(480, 50, "mmmm", anchor="middle", angle=90), (465, 483, 25, 75)),
        (Text(480, 50, "mmmm", anchor="start", angle=90), (465, 483, 5, 52)),
    ],
)
def test_where_a_text_stands(text: Text, box: tuple[int, int, int, int]) -> None:
    # What is darker than the ground.
    found = pixels(text).convert("L").point(lambda value: 255 * (value < 200)).getbbox()
    assert found is not None
    left, top, right, bottom = (edge / 1.5 for edge in found)
    assert left >= box[0] - 1
    assert right <= box[1]
    assert top >= box[2]
    assert bottom <= box[3]


def test_without_pillow_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install 'icekit\[plot\]'"):
        require()
