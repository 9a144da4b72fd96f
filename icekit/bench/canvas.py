"""How plots look: colours for light and dark, where the fields stand, SVG and PNG (matplotlib, extra ``plot``).

The colour-blind can tell the colours apart. An SVG has two looks: where its reader wants dark pages, a style sheet
exchanges the colours. The same data give the same file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from icekit.errors import MissingExtra
from icekit.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# INK to PAPER are of the page; WITHIN and OVER the limit, UNKNOWN where there is none; BAD ends; then the engines.
INK, DIM, LINE, PAPER = "#1c1e21", "#5d636b", "#d9dce0", "#fdfdfc"
WITHIN, OVER, UNKNOWN, BAD = "#b9c4d0", "#d2601a", "#8296ab", "#b3261e"
ENGINES = ("#0b62a8", "#c8500a", "#00785a", "#9b3f86", "#8a6d00", "#1f8fb5", "#6b7280", "#8c1d40")
_DARK: Final[Mapping[str, str]] = {
    INK: "#e6e8eb",
    DIM: "#9aa1aa",
    LINE: "#33383f",
    PAPER: "#16181b",
    WITHIN: "#4a5665",
    OVER: "#f08a4b",
    UNKNOWN: "#74889e",
    BAD: "#ff7b72",
    **dict(
        zip(
            ENGINES,
            ("#6cb2f0", "#ff9a5c", "#4fd1a5", "#e08fd0", "#e0c050", "#7fd6f5", "#b0b7c0", "#ff8fa8"),
            strict=True,
        )
    ),
}
DASHES: Final = (
    "-",
    *((0, dashes) for dashes in ((6, 2), (2, 1.5), (8, 2, 2, 2), (1, 1), (4, 1, 1, 1, 1, 1), (10, 3), (3, 3))),
)

# Inches: of a whole drawing, and above its first line of fields, where two titles stand.
_WIDTH, _TOP = 10.0, 0.65
_DPI = 144


@dataclass(frozen=True, slots=True)
class Drawing:
    """``name`` for a file, without its ending; ``title`` for people; ``condition``: the label of its block."""

    name: str
    title: str
    condition: str | None
    figure: Figure


def require() -> None:
    """MissingExtra unless matplotlib is there: to be asked before anything is measured."""
    try:
        import matplotlib as _  # noqa: F401
    except ImportError as error:
        raise MissingExtra("drawing plots", "plot") from error


@contextmanager
def look() -> Iterator[None]:
    """Settings of ours and of nobody's matplotlibrc."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "icekit",
                "font.size": 9,
                "font.sans-serif": ["DejaVu Sans", "Verdana", "system-ui", "sans-serif"],
                "text.parse_math": False,
                "text.color": INK,
                "axes.edgecolor": LINE,
                "axes.labelcolor": DIM,
                "axes.facecolor": PAPER,
                "figure.facecolor": PAPER,
                "savefig.facecolor": PAPER,
                "xtick.color": LINE,
                "ytick.color": LINE,
                "xtick.labelcolor": DIM,
                "ytick.labelcolor": INK,
                "axes.titlesize": 9.5,
                "axes.titlelocation": "left",
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.axisbelow": True,
                "axes.unicode_minus": False,
                "legend.frameon": False,
            }
        )
        yield


def svg(drawing: Drawing) -> str:
    """A file of its own, which can also stand inside HTML: no declaration before it, as wide as there is room."""
    output = io.StringIO()
    with look():
        drawing.figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    text = output.getvalue()
    start = text.index("<svg")
    end = text.index(">", start)
    box = re.search(r'viewBox="[^"]+"', text[start:end])
    assert box is not None
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} '
        f'class="plot" role="img" aria-label="{_attribute(drawing.title)}">\n<style>{_dark_style()}</style>'
    )
    return head + re.sub(r"\s*<metadata>.*?</metadata>", "", text[end + 1 :], flags=re.DOTALL)


def png(drawing: Drawing) -> bytes:
    """On a light ground, 1,440 pixels wide."""
    output = io.BytesIO()
    with look():
        drawing.figure.savefig(output, format="png", dpi=_DPI, metadata={"Software": None})
    return output.getvalue()


def _attribute(text: str) -> str:
    return escape(printable(text))


def _dark_style() -> str:
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark}!important}}'
        for light, dark in _DARK.items()
        for what in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Fields line by line, all of one size, in inches: ``height`` of a field, and the room beside, between and below.

    Placed by hand: matplotlib would draw everything several times to find the places by itself.
    """

    count: int
    columns: int
    height: float
    left: float
    right: float = 0.1
    across: float = 0.2
    down: float = 0.55
    bottom: float = 0.5

    def figure(self, title: str, *, one_time: bool = True) -> tuple[Figure, list[Axes]]:
        """``one_time``: all fields have one axis of times."""
        from matplotlib.figure import Figure

        columns = min(self.count, self.columns)
        lines = -(-self.count // columns)
        width = (_WIDTH - self.left - self.right - self.across * (columns - 1)) / columns
        total = _TOP + lines * self.height + (lines - 1) * self.down + self.bottom
        figure = Figure(figsize=(_WIDTH, total))
        grid = figure.add_gridspec(
            lines,
            columns,
            left=self.left / _WIDTH,
            right=1 - self.right / _WIDTH,
            top=1 - _TOP / total,
            bottom=self.bottom / total,
            wspace=self.across / width,
            hspace=self.down / self.height,
        )
        fields = list(grid.subplots(sharex=one_time, sharey=True, squeeze=False).flat)
        for index, axes in enumerate(fields):
            axes.tick_params(length=0, labelleft=index % columns == 0, labelbottom=True)
        for axes in fields[self.count :]:
            axes.set_axis_off()
        figure.text(0.01, 1 - 0.2 / total, printable(title), va="center", fontweight="bold", fontsize=10.5)
        return figure, fields[: self.count]


def room(names: Iterable[str]) -> float:
    """Inches that names need beside a field."""
    return 0.2 + 0.072 * max((len(printable(name)) for name in names), default=0)
