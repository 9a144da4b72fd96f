"""What a drawing is made of, and its two files: SVG, written here, and PNG, painted by Pillow (extra ``plot``).

The colour-blind can tell the colours apart. An SVG has two looks: where its reader wants dark pages, its style sheet
has other colours. The same data give the same file.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from types import MappingProxyType
from typing import Any, Final, Literal

from icekit.errors import MissingExtra
from icekit.printable import printable

LOOKS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "ink": ("#1c1e21", "#e6e8eb"),
        "dim": ("#5d636b", "#9aa1aa"),
        "line": ("#d9dce0", "#33383f"),
        "paper": ("#fdfdfc", "#16181b"),
        "within": ("#b9c4d0", "#4a5665"),
        "over": ("#d2601a", "#f08a4b"),
        "unknown": ("#8296ab", "#74889e"),
        "bad": ("#b3261e", "#ff7b72"),
        "engine0": ("#0b62a8", "#6cb2f0"),
        "engine1": ("#c8500a", "#ff9a5c"),
        "engine2": ("#00785a", "#4fd1a5"),
        "engine3": ("#9b3f86", "#e08fd0"),
        "engine4": ("#8a6d00", "#e0c050"),
        "engine5": ("#1f8fb5", "#7fd6f5"),
        "engine6": ("#6b7280", "#b0b7c0"),
        "engine7": ("#8c1d40", "#ff8fa8"),
    }
)
"""Colours by what they are for: on a light page, on a dark one. A shape may also have one ``#rrggbb`` for both."""
ENGINES: Final = tuple(name for name in LOOKS if name.startswith("engine"))

WIDTH: Final = 960.0
"""Of every drawing, in its own pixels."""
SIZE: Final = 11.0
"""Of a text, in pixels, unless it says otherwise."""

_ANCHORS: Final = {"start": "", "middle": "m", "end": "e"}

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; ``edge``: it has a dashed edge of this colour."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    edge: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Straight from point to point; ``dash``: lengths of dashes and gaps."""

    points: tuple[Point, ...]
    colour: str
    width: float = 1.0
    dash: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Polygon:
    """A filled one."""

    points: tuple[Point, ...]
    fill: str


@dataclass(frozen=True, slots=True)
class Text:
    """``x`` is where it starts, its middle or its end, ``y`` its baseline; ``angle`` in degrees, against the clock."""

    x: float
    y: float
    text: str
    colour: str = "ink"
    size: float = SIZE
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False
    angle: float = 0.0


Shape = Box | Line | Polygon | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """``name`` for a file, without its ending; ``title`` for people; ``condition``: the label of its block, if it is of
    one. Shapes lie above those before them.
    """

    name: str
    title: str
    condition: str | None
    height: float
    shapes: tuple[Shape, ...]


def width_of(text: str, size: float = SIZE) -> float:
    """About how wide a text is at most, in pixels: capital letters are a fifth wider than others."""
    shown = printable(text)
    return size * (0.59 * len(shown) + 0.1 * sum(map(str.isupper, shown)))


# --- SVG -------------------------------------------------------------------------------------------------------------


def style() -> str:
    """The style sheet of all drawings, for a page that shows them."""
    light, dark = ("".join(_rules(index)) for index in (0, 1))
    text = '.plot text{font-family:"DejaVu Sans",Verdana,system-ui,sans-serif}.plot .b{font-weight:bold}'
    text += ".plot .m{text-anchor:middle}.plot .e{text-anchor:end}"
    return f"{text}{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _rules(index: int) -> list[str]:
    return [
        rule
        for name, colours in LOOKS.items()
        for rule in (f".plot .{name}{{fill:{colours[index]}}}", f".plot .{name}-l{{stroke:{colours[index]};fill:none}}")
    ]


def svg(drawing: Drawing, *, alone: bool = True) -> str:
    """As wide as there is room. ``alone``: a file of its own; otherwise for a page that has ``style()``."""
    space = ' xmlns="http://www.w3.org/2000/svg"' if alone else ""
    title = escape(printable(drawing.title))
    box = f"0 0 {_number(WIDTH)} {_number(drawing.height)}"
    parts = [f'<svg{space} class="plot" viewBox="{box}" role="img" aria-label="{title}" font-size="{_number(SIZE)}">']
    if alone:
        parts.append(f"<style>{style()}</style>")
        parts.append(_svg(Box(0, 0, WIDTH, drawing.height, "paper")))
    parts += map(_svg, drawing.shapes)
    return "\n".join([*parts, "</svg>\n"])


def _svg(shape: Shape) -> str:
    match shape:
        case Box():
            place = f'x="{_number(shape.x)}" y="{_number(shape.y)}"'
            size = f'width="{_number(shape.width)}" height="{_number(shape.height)}"'
            rectangle = f"<rect {_look(shape.fill)} {place} {size}/>"
            if shape.edge is None:
                return rectangle
            return f'{rectangle}<rect {_look(shape.edge, line=True)} {place} {size} stroke-dasharray="3 2"/>'
        case Line():
            dash = f' stroke-dasharray="{" ".join(map(_number, shape.dash))}"' if shape.dash else ""
            wide = "" if shape.width == 1 else f' stroke-width="{_number(shape.width)}"'
            return f'<path {_look(shape.colour, line=True)} d="M{_points(shape.points)}"{wide}{dash}/>'
        case Polygon():
            return f'<path {_look(shape.fill)} d="M{_points(shape.points)}z"/>'
        case Text():
            return _svg_text(shape)


def _svg_text(shape: Text) -> str:
    x, y = _number(shape.x), _number(shape.y)
    place = f'x="{x}" y="{y}"'
    if shape.angle:
        place += f' transform="rotate({_number(-shape.angle)} {x} {y})"'
    if shape.size != SIZE:
        place += f' font-size="{_number(shape.size)}"'
    fixed = "" if shape.colour in LOOKS else f"{_look(shape.colour)} "
    classes = [*([] if fixed else [shape.colour]), *(["b"] if shape.bold else []), _ANCHORS[shape.anchor]]
    look = f'{fixed}class="{" ".join(filter(None, classes))}"'
    return f"<text {look} {place}>{escape(printable(shape.text), quote=False)}</text>"


def _look(colour: str, *, line: bool = False) -> str:
    if colour not in LOOKS:
        return f'fill="none" stroke="{colour}"' if line else f'fill="{colour}"'
    return f'class="{colour}{"-l" if line else ""}"'


def _points(points: Sequence[Point]) -> str:
    return "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


# --- PNG -------------------------------------------------------------------------------------------------------------

# Drawn twice as wide and reduced, which smooths every edge.
_SCALE, _REDUCED = 3, 2
_COLOURS = 128
# Of what a drawing holds the font of Pillow lacks these.
_FONT_LACKS = str.maketrans({"×": "x", "▸": ">", "–": "-"})


def require() -> None:
    """MissingExtra unless PNG can be written: to be asked before anything is measured."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise MissingExtra("writing PNG files", "plot") from error


def png(drawing: Drawing) -> bytes:
    """On a light ground, 1,440 pixels wide. MissingExtra: there is no Pillow."""
    require()
    from PIL import Image, ImageDraw

    size = round(WIDTH * _SCALE), round(drawing.height * _SCALE)
    image = Image.new("RGB", size, _light("paper"))
    draw = ImageDraw.Draw(image)
    for shape in drawing.shapes:
        match shape:
            case Text():
                _paint_text(image, draw, shape)
            case Box(x, y, width, height, fill, edge):
                # The last pixel belongs to it.
                right, bottom = max(0.0, width * _SCALE - 1), max(0.0, height * _SCALE - 1)
                corners = (x * _SCALE, y * _SCALE, x * _SCALE + right, y * _SCALE + bottom)
                outline = None if edge is None else _light(edge)
                draw.rectangle(corners, fill=_light(fill), outline=outline, width=_SCALE)
            case Line(points, colour, width, dash):
                for piece in _dashes(points, dash):
                    draw.line(_scaled(piece), fill=_light(colour), width=round(width * _SCALE))
            case Polygon(points, fill):
                draw.polygon(_scaled(points), fill=_light(fill))
    output = io.BytesIO()
    few = image.reduce(_REDUCED).quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(output, "png")
    return output.getvalue()


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(x * _SCALE, y * _SCALE) for x, y in points]


def _dashes(points: Sequence[Point], dash: Sequence[float]) -> Iterator[Sequence[Point]]:
    """The pieces of a line that are drawn."""
    if not dash:
        yield points
        return
    lengths = itertools.cycle((length, index % 2 == 0) for index, length in enumerate(dash))
    left, drawn = next(lengths)
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        whole = rest = math.hypot(to_x - x, to_y - y)
        while rest > 0:
            step = min(left, rest)
            share, end = (whole - rest) / whole, (whole - rest + step) / whole
            if drawn:
                yield tuple((x + (to_x - x) * part, y + (to_y - y) * part) for part in (share, end))
            rest, left = rest - step, left - step
            if left <= 0:
                left, drawn = next(lengths)


def _paint_text(image: Any, draw: Any, shape: Text) -> None:
    from PIL import Image, ImageDraw

    text = printable(shape.text).translate(_FONT_LACKS)
    font, colour = _font(shape.size), _light(shape.colour)
    x, y = shape.x * _SCALE, shape.y * _SCALE
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
    if not shape.angle:
        # There is no bold font: twice, a third of a pixel beside itself.
        for beside in (0, 1) if shape.bold else (0,):
            draw.text((x + beside, y), text, fill=colour, font=font, anchor=anchor)
        return
    # On a ground of its own, which is turned around the place where the text begins, ends or has its middle.
    reach = math.ceil(font.getlength(text)) + round(2 * shape.size * _SCALE)
    ground = Image.new("L", (2 * reach, 2 * reach))
    ImageDraw.Draw(ground).text((reach, reach), text, fill=255, font=font, anchor=anchor)
    image.paste(colour, (round(x) - reach, round(y) - reach), ground.rotate(shape.angle, Image.Resampling.BICUBIC))


@cache
def _font(size: float) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size * _SCALE)


def _light(colour: str) -> str:
    return LOOKS[colour][0] if colour in LOOKS else colour
