"""Figure: draws one picture of a benchmark, as PNG and SVG."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Equal results give equal files, without a date and random names.
mpl.rcParams["svg.hashsalt"] = "commit-bridge"
_COLOURS = ("#336791", "#d9822b", "#5b8c3a", "#a33b5b", "#7a6cb0", "#777777")


@contextmanager
def drawing(directory: Path, name: str, title: str, height: float = 4.0) -> Iterator[Axes]:
    """Yields the axes to draw on, then writes NAME.png and NAME.svg."""
    directory.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    yield axes
    figure.savefig(directory / f"{name}.png", dpi=120)
    figure.savefig(directory / f"{name}.svg", metadata={"Date": None})


def bars(directory: Path, name: str, title: str, unit: str, values: Mapping[str, float]) -> None:
    """Draws one horizontal bar for each value, the first one at the top."""
    with drawing(directory, name, title, 1.4 + 0.4 * len(values)) as axes:
        labels = list(values)[::-1]
        drawn = axes.barh(labels, [values[label] for label in labels], color=_COLOURS[0], height=0.6)
        axes.bar_label(drawn, [f" {_rounded(values[label])}" for label in labels], fontsize=9)
        axes.margins(x=0.12)
        axes.set_xlabel(unit)


def lines(
    directory: Path,
    name: str,
    title: str,
    labels: tuple[str, str],
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    log: bool = False,
    marks: bool = True,
) -> None:
    """Draws a line for each series. `log` makes the horizontal axis logarithmic, with a tick at each point."""
    with drawing(directory, name, title) as axes:
        for number, (label, points) in enumerate(series.items()):
            xs, ys = [x for x, _ in points], [y for _, y in points]
            axes.plot(xs, ys, "o-" if marks else "-", label=label, color=_COLOURS[number % len(_COLOURS)], markersize=4)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
        if log:
            axes.set_xscale("log")
            xs = sorted({x for points in series.values() for x, _ in points})
            axes.set_xticks(xs, [f"{x:,.0f}" for x in xs], minor=False)
            axes.minorticks_off()
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=9)


def cumulative(
    directory: Path, name: str, title: str, unit: str, samples: Mapping[str, Sequence[float]], *, log: bool = True
) -> None:
    """Draws the cumulative distribution of the measurements, a line for each name."""
    with drawing(directory, name, title) as axes:
        for number, (label, values) in enumerate(samples.items()):
            axes.ecdf(values, label=label, color=_COLOURS[number % len(_COLOURS)])
        axes.set_xlabel(unit)
        axes.set_ylabel("share of all")
        axes.grid(alpha=0.3)
        if log:
            axes.set_xscale("log")
        axes.legend(frameon=False, fontsize=9, loc="lower right")


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"
