"""The pictures: series and crossovers by hand, and figures that show what the data says."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from fastconv.bench import plots
from fastconv.bench.kinds import KINDS, kind_of
from fastconv.bench.plots import Crossover, crossovers, find_series
from fastconv.bench.plots.layers import LOSS_HATCH, ROW_INCHES
from fastconv.bench.plots.style import (
    HEADLINE,
    ORANGE,
    contender_marks,
    kind_mark,
    new_figure,
    ratio_axis,
    shorten,
    split_configurations,
    spread,
)
from fastconv.bench.results import AUTO, Kind, LayerResult, Outcome, SuiteResult
from fastconv.bench.suites import SUITES
from fastconv.problem import ConvProblem, Problem, parse

PEERS = ("torch", "onnxruntime")
KIND_OF: Mapping[str, Kind] = {AUTO: "auto", **dict.fromkeys(PEERS, "peer")}
PEAK, COPY = 100.0, 10.0  # GFLOP/s and GB/s that made-up machines have


def layer(name: str, times: Mapping[str, float], text: str = "conv2d,n1,c8,8x8,k8,3x3,p1,float32") -> LayerResult:
    """Return a layer with these milliseconds; ``auto`` stands for ``direct``."""
    problem = parse(text)
    outcomes = (Outcome(each, KIND_OF.get(each, "algorithm"), minimum_ms=time) for each, time in times.items())
    return LayerResult(name, text, kind_of(problem), 1, operations(problem), 4096, "direct", tuple(outcomes))


def suite(*layers: LayerResult, name: str = "net", threads: int = 1, peak: float | None = PEAK) -> SuiteResult:
    return SuiteResult(name, "made up", 1, threads, "float32", "channels_first", peak, COPY, layers)


def operations(problem: Problem) -> int:
    return 2 * problem.multiply_adds if isinstance(problem, ConvProblem) else problem.operations


def made_up(name: str, *, peers: bool = True) -> SuiteResult:
    """Return a real suite's layers with times near what its work takes, the same ones every time."""
    chance = random.Random(name)

    def times(problem: Problem) -> dict[str, float]:
        least = operations(problem) / PEAK / 1e6 + 0.01
        direct, taps = least * chance.uniform(1, 1.5), math.prod(problem.kernel)
        theirs = {peer: least * chance.lognormvariate(0.4, 0.3) for peer in PEERS if peers}
        return {"direct": direct, "fft": 60 * least / taps, AUTO: direct, **theirs}

    return suite(*(layer(one.name, times(one.problem), str(one.problem)) for one in SUITES[name].layers()), name=name)


def sweep(sides: Iterable[int]) -> list[LayerResult]:
    """Return layers that differ in kernel and padding: direct grows by the taps, fft does not."""
    return [
        layer(
            f"side {side}",
            {"direct": side * side / 10, "fft": 6.0, AUTO: side * side / 10, "torch": 2.0 + side},
            f"conv2d,n1,c1,64x64,k1,{side}x{side}" + f",p{side // 2}" * (side > 1) + ",float32",
        )
        for side in sides
    ]


def drawn(draw: Callable[[Axes], object], height: float = 4.0) -> Axes:
    """Return axes that were drawn on and laid out."""
    figure = new_figure(9.0, height)
    axes = figure.subplots()
    draw(axes)
    figure.draw_without_rendering()
    return axes


def texts(container: Axes | Figure) -> list[str]:
    return [text for one in container.findobj(Text) if (text := one.get_text().strip())]


# ------------------------------------------------------------------------- series and crossovers


def test_crossovers_by_hand() -> None:
    times = {"direct": [1.0, 2.0, 8.0, 9.0], "fft": [3.0, 3.0, 3.0, 3.0], "winograd": [0.5, None, None, None]}
    assert crossovers([3, 5, 7, 9], times) == (Crossover("winograd", "direct", 5), Crossover("direct", "fft", 7))


def test_noise_is_no_crossover() -> None:
    times = {"a": [1.0, 1.0, 1.0], "b": [2.0, 0.99, 0.9]}
    assert crossovers([1, 2, 3], times) == (Crossover("a", "b", 3),)
    assert crossovers([1, 2, 3], times, margin=0) == (Crossover("a", "b", 2),)


def test_nobody_takes_the_lead_where_nobody_has_a_time() -> None:
    assert crossovers([1, 2, 3], {"a": [1.0, None, 1.0]}) == ()
    assert crossovers([1, 2], {}) == ()
    with pytest.raises(ValueError, match="times must give 'a' one time a size, 2, got 1"):
        crossovers([1, 2], {"a": [1.0]})


def test_a_series_is_what_differs_in_kernel_and_padding_alone() -> None:
    others = [
        layer("stride", {AUTO: 1.0}, "conv2d,n1,c1,64x64,k1,9x9,s2,p4,float32"),
        layer("sides", {AUTO: 1.0}, "conv2d,n1,c1,64x64,k1,1x9,p0x4,float32"),
        layer("again", {AUTO: 1.0}, "conv2d,n1,c1,64x64,k1,3x3,p1,float32"),
    ]
    (found,) = find_series([suite(*sweep((7, 1, 3, 5)), *others)])
    assert found.family == "conv2d,n1,c1,64x64,k1,FxF,float32"
    assert found.sizes == (1, 3, 5, 7)
    assert found.layers[3].layer == "side 3"
    assert found.times("algorithm") == {"direct": (0.1, 0.9, 2.5, 4.9), "fft": (6.0,) * 4}
    assert find_series([suite(*sweep((1, 3, 5)), *others)]) == ()  # three sizes are none


def test_series_do_not_join_suites_nor_count_the_reference() -> None:
    assert find_series([suite(*sweep((1, 3))), suite(*sweep((5, 7)))]) == ()
    text = "max_pool{0}d,n1,c4,{1},{2},s2,float32"
    layers = [layer("p", {"reference": 9.0, AUTO: 1.0}, text.format(1, 64, side)) for side in (2, 3, 4, 5)]
    (found,) = find_series([suite(*layers)])
    assert found.family == "max_pool1d,n1,c4,64,F,s2,float32"
    assert found.times("algorithm") == {}
    assert found.times("auto") == {AUTO: (1.0,) * 4}


def test_large_kernels_are_series() -> None:
    assert [len(series.sizes) for series in find_series([made_up("large_kernels")])] == [9, 9, 7]


# ------------------------------------------------------------------------------------------ style


def test_labels_are_spread_as_little_as_can_be() -> None:
    assert spread([0.0, 3.0], 1.0) == [0.0, 3.0]
    assert spread([2.0, 2.0, 2.0], 1.0) == [1.0, 2.0, 3.0]
    assert spread([], 1.0) == []


def test_each_class_and_each_contender_has_a_mark_of_its_own() -> None:
    kinds = [(kind_mark(kind).marker, kind_mark(kind).filled) for kind in (*KINDS, "unheard of")]
    assert len(set(kinds)) == len(KINDS) + 1
    marks = contender_marks(("direct", "im2col", "fft"), PEERS)
    assert len({(mark.marker, mark.filled) for mark in marks.values()}) == 5
    assert [mark.line for mark in marks.values()].count("-") == 3


def test_a_long_name_keeps_its_ends() -> None:
    assert shorten("a" * 32) == "a" * 32
    assert shorten("begin" + "." * 60 + "end").startswith("begin")
    assert len(shorten("begin" + "." * 60 + "end")) == 32


def test_what_suites_share_is_said_once() -> None:
    assert suite(threads=2).configuration == ("batch 1", "2 threads", "float32", "channels_first")
    assert split_configurations([suite(), suite(threads=2)]) == (
        "batch 1, float32, channels_first",
        ["1 thread", "2 threads"],
    )


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.97, 1.17, [1.0, 1.05, 1.1, 1.15]),
        (0.4, 6.0, [0.5, 1.0, 2.0, 5.0]),
        (0.005, 2000.0, [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]),
    ],
)
def test_ratios_have_plain_ticks(low: float, high: float, ticks: list[float]) -> None:
    axes = new_figure(4.0, 2.0).subplots()
    ratio_axis(axes, low, high)
    assert list(axes.get_xticks()) == pytest.approx(ticks)


# --------------------------------------------------------------------------------------- pictures


def test_ratio_bars_show_every_layer_and_hatch_the_losses() -> None:
    found = suite(
        layer("win", {AUTO: 1.0, "torch": 2.0, "onnxruntime": 3.0}),
        layer("loss", {AUTO: 2.0, "torch": 9.0, "onnxruntime": 1.0}),
        layer("alone", {AUTO: 2.0}),
        layer("not ours", {"torch": 2.0}),
    )
    axes = drawn(lambda axes: plots.ratio_bars(axes, found))
    won, lost = axes.patches
    assert (won.get_hatch(), lost.get_hatch()) == (None, LOSS_HATCH)
    assert to_hex(lost.get_edgecolor()) == ORANGE.lower()
    assert [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in (won, lost)] == [(1, 2), (1, 0.5)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["win", "loss", "alone", "not ours"]
    values = {one.get_text(): one.get_window_extent() for one in axes.texts}
    assert values["2.00"].x0 > won.get_window_extent().x1  # each at its bar's end
    assert values["0.50"].x1 < lost.get_window_extent().x0
    assert {"2.00", "0.50", "geometric mean 1.00", "no time of a peer", "no time of fastconv"} <= set(texts(axes))
    assert [text for text in texts(axes) if text in PEERS] == ["torch", "onnxruntime", "torch"]


@pytest.mark.parametrize("peer", [0.2, 5.0])
def test_what_is_missing_is_said_inside_the_axes(peer: float) -> None:
    """And not over the column that names the best peers."""
    times = {AUTO: 1.0, "torch": peer}, {"torch": 1.0}, {AUTO: 1.0}
    found = suite(*(layer(name, each) for name, each in zip("abc", times, strict=True)))
    axes = drawn(lambda axes: plots.ratio_bars(axes, found))
    box = axes.get_window_extent()
    said = [one.get_window_extent() for one in axes.texts if one.get_text().startswith("no time of")]
    assert len(said) == 2
    assert all(box.x0 < one.x0 and one.x1 < box.x1 for one in said)


def test_time_dots_ring_the_pick() -> None:
    found = suite(layer("a", {"direct": 2.0, "im2col": 1.0}), layer("b", {}))
    axes = drawn(lambda axes: plots.time_dots(axes, found))
    (ring,) = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert ring.get_xydata().tolist() == [[2.0, 0.0]]
    assert {"a", "b", "im2col", "none", "picked by auto"} <= set(texts(axes))


def test_the_overview_names_the_mean_and_the_worst() -> None:
    mixed = suite(layer("good", {AUTO: 1.0, "torch": 8.0}), layer("bad", {AUTO: 2.0, "torch": 1.0}))
    alone = suite(layer("alone", {AUTO: 1.0}), name="unseen")
    axes = drawn(lambda axes: plots.ratio_overview(axes, [mixed, alone, suite(*mixed.layers, threads=2)]))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["net\n1 thread", "net\n2 threads"]
    assert texts(axes).count("2.00") == texts(axes).count("0.50  bad") == 2
    wins, losses, median, mean = axes.lines[2:6]  # after the line at 1 and the first row's range
    shown = [float(line.get_xdata()[0]) for line in (wins, losses, median, mean)]
    assert shown == pytest.approx([8.0, 0.5, 4.25, 2.0])


def test_the_roofline_has_the_limits_and_the_peers() -> None:
    one = layer("a", {AUTO: 1.0, "torch": 2.0})
    axes = drawn(lambda axes: plots.roofline(axes, [suite(one)]))
    points = {tuple(map(float, point)) for line in axes.lines for point in line.get_xydata()}
    rate = one.operations / 1e6
    assert {(one.operations / 4096, rate), (one.operations / 4096, rate / 2)} <= points
    assert (PEAK / COPY, PEAK) in points  # where the diagonal ends
    assert {"FMA peak: 100 GFLOP/s", "copy in memory: 10 GB/s", "3x3", "its best peer"} <= set(texts(axes))


def test_the_roofline_tells_peaks_apart_and_does_without() -> None:
    one = layer("a", {AUTO: 1.0})
    both = drawn(lambda axes: plots.roofline(axes, [suite(one), suite(one, threads=2, peak=2 * PEAK)]))
    assert {"FMA peak, 1 thread, float32: 100 GFLOP/s", "FMA peak, 2 threads, float32: 200 GFLOP/s"} <= set(texts(both))
    neither = drawn(lambda axes: plots.roofline(axes, [suite(one, peak=None)]))
    assert not [text for text in texts(neither) if "peak" in text or "peer" in text]


def test_the_regret_curve_names_the_worst_three() -> None:
    regrets = (1.0, 1.0, 1.5, 2.0, 3.0, 4.0)
    layers = [layer(f"at {regret}", {"direct": regret, "fft": 1.0, AUTO: regret}) for regret in regrets]
    axes = drawn(lambda axes: plots.regret_curve(axes, [suite(*layers)]))
    curve = axes.lines[0].get_xydata().tolist()
    assert curve[:4] == [[1, 0], [1, 1 / 6], [1, 2 / 6], [1.5, 3 / 6]]
    named = [one.get_text() for one in axes.texts if isinstance(one, Annotation) and " × " in one.get_text()]
    assert named == ["at 4.0: direct 4.00 × fft", "at 3.0: direct 3.00 × fft", "at 2.0: direct 2.00 × fft"]
    mean = math.prod(regrets) ** (1 / 6)
    assert f"3x3: {mean:.3f}" in texts(axes)
    assert f"best choice on 2 of 6 layers, geometric mean {mean:.3f}" in texts(axes)


def test_a_kernel_panel_names_lines_and_crossovers() -> None:
    (series,) = find_series([suite(*sweep((1, 3, 5, 7, 9)))])
    axes = drawn(lambda axes: plots.kernel_panel(axes, series))
    assert {"direct", "fft", AUTO, "torch", "direct → fft at 9"} <= set(texts(axes))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3", "5", "7", "9"]
    ends = [one for one in axes.texts if one.get_text() in ("direct", "fft", AUTO, "torch")]
    heights = sorted(one.get_window_extent().y0 for one in ends)
    sizes = [one.get_window_extent().height for one in ends]
    assert all(above - below >= 0.8 * min(sizes) for below, above in itertools.pairwise(heights))


def test_sizes_that_would_touch_have_no_number() -> None:
    (series,) = find_series([suite(*sweep((3, 5, 7, 27, 28, 29, 31)))])
    axes = drawn(lambda axes: plots.kernel_panel(axes, series))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["3", "5", "7", "27", "", "", "31"]


@pytest.mark.parametrize(
    "draw",
    [
        plots.ratio_bars,
        plots.time_dots,
        lambda axes, one: plots.ratio_overview(axes, [one]),
        lambda axes, one: plots.roofline(axes, [one]),
        lambda axes, one: plots.regret_curve(axes, [one]),
    ],
)
def test_nothing_to_draw_is_refused_by_name(draw: Callable[[Axes, SuiteResult], None]) -> None:
    axes = new_figure(4.0, 2.0).subplots()
    for found in (suite(), suite(layer("failed", {}))):
        with pytest.raises(ValueError, match=r"must have a layer with .*time.* got none"):
            draw(axes, found)


# -------------------------------------------------------------------------------- sheet and files


def titles(figure: Figure) -> list[str]:
    return [one.get_text() for axes in figure.axes for one in axes.texts if one.get_fontsize() == HEADLINE]


def test_a_sheet_has_all_that_was_measured() -> None:
    figure = plots.sheet([suite(*sweep((1, 3, 5, 7, 9))), suite(*sweep((3,)), name="other")])
    assert titles(figure) == [
        "fastconv beside the best peer, all suites",
        "net: fastconv beside the best peer",
        "other: fastconv beside the best peer",
        "Time by kernel size: conv2d,n1,c1,64x64,k1,FxF,float32",
        "Rate of each layer under the machine's limits",
        "What the choice of an algorithm costs",
    ]


def test_a_sheet_without_peers_shows_times_and_grows_with_the_layers() -> None:
    one = [layer(str(index), {"direct": 1.0, AUTO: 1.0}) for index in range(60)]
    few, many = (plots.sheet([suite(*layers)]) for layers in (one[:10], one))
    assert titles(many)[0] == "net: time of each algorithm"
    assert many.get_figheight() - few.get_figheight() == pytest.approx(50 * ROW_INCHES)
    rows = many.axes[0].get_yticklabels()
    many.draw_without_rendering()
    assert abs(rows[1].get_window_extent().y0 - rows[0].get_window_extent().y0) >= 8.5 / 72 * many.dpi
    with pytest.raises(ValueError, match="suites must have a layer with a time, got none in 2 suites"):
        plots.sheet([suite(), suite(layer("failed", {}))])


@pytest.mark.parametrize(
    "found",
    [
        made_up("alexnet"),
        suite(*sweep((3, 5, 7, 9)), layer("/features/" * 9, {"direct": 9.0, "fft": 1.0, AUTO: 9.0, "torch": 0.01})),
    ],
    ids=["alexnet", "extremes"],
)
def test_nothing_is_cut_off_nor_too_small(found: SuiteResult) -> None:
    figure = plots.sheet([found])
    figure.draw_without_rendering()
    shown = [one for one in figure.findobj(Text) if one.get_text().strip() and one.get_visible()]
    inside = [one.get_window_extent() for one in shown if one.get_in_layout()]
    assert min(box.x0 for box in inside) >= 0
    assert max(box.x1 for box in inside) <= figure.bbox.width
    assert min(one.get_fontsize() for one in shown) >= 8


def test_the_same_data_give_the_same_files(tmp_path: Path) -> None:
    names = [f"{which}{suffix}" for which in ("first", "second") for suffix in (".png", ".svg")]
    for which in ("first", "second"):
        plots.save(plots.sheet([suite(*sweep((3, 5)))]), *(tmp_path / name for name in names if which in name))
    png, svg, same_png, same_svg = ((tmp_path / name).read_bytes() for name in names)
    assert png == same_png
    assert svg == same_svg
    assert b"<svg" in svg
    assert b"dc:date" not in svg
    with Image.open(tmp_path / "first.png") as image:
        image.load()
        assert image.width == 9 * 144


def test_another_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path must end in .png or .svg, got '.*b.pdf'"):
        plots.save(new_figure(2.0, 2.0), tmp_path / "a.png", tmp_path / "b.pdf")
    assert not list(tmp_path.iterdir())
