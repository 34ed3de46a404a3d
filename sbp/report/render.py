"""Figures made and rendered in other processes, while the data of the next ones is read."""

import io
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

from matplotlib.figure import Figure

from sbp.plots.style import DPI, styled
from sbp.report.page import Picture

MakeFigure = Callable[[], Figure]


@dataclass(frozen=True)
class Drawing:
    """A picture whose bytes are on their way. about: the picture without them."""

    about: Picture
    rendered: Future | None = None

    def picture(self) -> Picture:
        """The picture; waits for it."""
        if self.rendered is None:
            return self.about
        png, svg = self.rendered.result()
        return replace(self.about, png=png, svg=svg)


class Renderer:
    """Makes and renders figures in `processes` other processes, or in this one with 0; a context manager."""

    def __init__(self, processes: int):
        # spawn, not fork: the tracking client has threads
        self.pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn")) if processes else None

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def draw(self, make: MakeFigure, about: Picture) -> Drawing:
        """Begin to make and render a figure."""
        if self.pool is not None:
            return Drawing(about, self.pool.submit(render, make))
        png, svg = render(make)
        return Drawing(replace(about, png=png, svg=svg))


@styled
def render(make: MakeFigure) -> tuple[bytes, bytes]:
    """PNG and SVG of a figure; the same figure gives the same bytes."""
    figure = make()
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(
        png, format="png", dpi=1.6 * DPI, metadata={"Software": None},
        pil_kwargs={"compress_level": 2},  # at the usual 6, compression takes a third of the time
    )  # fmt: skip
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return png.getvalue(), svg.getvalue()


Draw = Callable[[MakeFigure, Picture], Drawing]
