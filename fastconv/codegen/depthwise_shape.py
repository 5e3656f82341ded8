"""What the code of a depthwise convolution depends on, and the slots of its plan."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from fastconv.codegen import target as targets

# fmt: off
(
    HEIGHT, WIDTH,                      # of an input plane
    OUT_HEIGHT, OUT_WIDTH,
    BEFORE_H, BEFORE_W,                 # padding
    STRIDE_H, DILATION_H,
    FILTERS, MULTIPLIER,                # output planes of an image, and of an input plane
    CLASSES, CLASS_ROWS, CLASS_MORE,    # of output rows: those that far apart share input rows; rows of each class, and
                                        # how many classes have one more
    PARTS,                              # that the rows of a plane are cut into, a task each
    PART_ROWS,                          # address of the first row of each part, and of the end
    X_CORNER,                           # bytes from where the padding of a plane would begin to the plane
    X_PLANE, X_ROW,
    X_BAND, X_STEP,                     # from the input rows of an output row to those of the next; between two of them
    Y_IMAGE, Y_FILTER, Y_ROW,
    RESIDUAL_PLANE,
    ZERO,                               # address of a zero
    ZEROS,                              # address where the padding of a row of zeros would begin
    MASKS,                              # address of the mask of a padded input row: -1 in the plane, 0 outside
    DEPTH, BEFORE_D, STRIDE_D, DILATION_D,
    X_SLICE, Y_SLICE,                   # from one slice of a volume to the next
    MAP_D, MAP_H,                       # addresses of what tells which place of the input has a padded place's element
    STRIP_ROW, STRIP_WIDTH,             # bytes of a strip, elements of it
    STRIP_COLUMNS,                      # address of where in a padded row each element of a strip comes from, in bytes
    STRIP_SHIFT,                        # columns less that a tile at the right is along a strip than along its row
    COPY_ROW,                           # bytes from one copied row to the next
    COPY_PADS,                          # elements of a copied row that are padding;
    COPY_TO, COPY_FROM,                 # addresses of where they are in it, and of where in the row they are from, both
                                        # in bytes from where the padding begins; -1: zeros
    KIND_ROWS,                          # first output row of each kind of band, and the end of the last
) = range(44)
# fmt: on
MOST_KINDS = 7
SLOTS = KIND_ROWS + MOST_KINDS + 1

LEAST_WEIGHTS = 5  # of a column, kept in registers
MOST_ROWS = 14  # of a tile: more sums hide no more latency
MOST_BANDS = 4  # that are written out one by one
MOST_UNROLLED = 400  # products and loads of a tile whose kernel columns are written out: loops over more run as fast
MOST_WRITTEN = 2000  # that are written out for all kinds of bands together: some 100 ms of compiling

Kind = tuple[int, int]  # of a band: input rows, of those that it would meet, that lie above and below the plane


def kinds_in_turn(kinds: Sequence[Kind], step: int) -> tuple[tuple[Kind, ...], list[int]]:
    """Return each kind of neighbours once; where the first of each begins, `step` apart, and where the last ends."""
    runs = [(kind, len(list(run))) for kind, run in itertools.groupby(kinds)]
    begins = [step * count for count in itertools.accumulate((count for _, count in runs), initial=0)]
    return tuple(kind for kind, _ in runs), begins[: MOST_KINDS + 1]


@dataclass(frozen=True, kw_only=True)
class Planes:
    """What the code of a depthwise convolution depends on.

    Parameters
    ----------
    dtype : str
        The elements' type.
    rows, vectors : int
        Of a tile.
    kernel : tuple of int
        Its rows and columns; the rows of all slices, if it has several.
    depth : int
        Slices of the kernel.
    flip : bool
        Whether the kernel is turned round.
    row_step : int
        Input rows, of those that the kernel meets, from one output row to the next.
    stride, dilation : int
        Steps along a row.
    kinds : tuple of Kind
        Of bands, from the top of a plane to its bottom; rows outside are left out. None: they are read as zeros.
    height : int
        Output rows where bands are written out one by one, each with its kind; 0 where a kind is a loop over bands.
    classes : bool
        Whether the dilation makes more than one class of output rows.
    deep : bool
        Whether planes are volumes: tasks are slices of output, and slices of input may lie outside.
    bordered : bool
        Whether the padding is not zeros.
    copied : bool
        Whether rows are copied, with their padding, to where they do not all fall into the same sets of the cache.
    parted : bool
        Whether planes are cut into several tasks.
    repeated : bool
        Whether an input plane has more than one filter.
    narrow : bool
        Whether output rows are shorter than one vector.
    spills : bool
        Whether such rows may be written beyond their ends, as the next row is written after them.
    edges, inner : bool
        Whether some tiles reach beyond the sides of the plane, and whether some do not.
    leaves_out : bool
        Whether products with zeros outside are left out, so that all weights must be finite.
    residual : bool
        Whether there is one.
    activation : str, optional
        Applied last.
    """

    dtype: str
    rows: int
    vectors: int
    kernel: tuple[int, int]
    depth: int = 1
    flip: bool = False
    row_step: int = 1
    stride: int = 1
    dilation: int = 1
    kinds: tuple[Kind, ...] = ()
    height: int = 0
    classes: bool = False
    deep: bool = False
    bordered: bool = False
    copied: bool = False
    parted: bool = False
    repeated: bool = False
    narrow: bool = False
    spills: bool = False
    edges: bool = True
    inner: bool = True
    leaves_out: bool = False
    residual: bool = False
    activation: str | None = None

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        height, width = self.kernel
        words = (
            "flip", "classes", "deep", "bordered", "copied", "parted", "repeated", "narrow", "spills", "edges", "inner",
            "leaves_out", "residual",
        )  # fmt: skip
        parts = [
            f"depthwise_{self.dtype}_{self.rows}x{self.vectors}_k{self.depth}x{height}x{width}",
            f"s{self.row_step}x{self.stride}_d{self.dilation}_h{self.height}",
            *(f"{above}-{below}" for above, below in self.kinds),
            *(word for word in words if getattr(self, word)),
            self.activation or "linear",
        ]
        return "_".join(parts)

    def variant(self, residual: bool, careful: bool) -> Planes:
        """The code with or without a residual, and if `careful` leaving out nothing."""
        code = dataclasses.replace(self, residual=residual)
        return dataclasses.replace(code, kinds=(), height=0, leaves_out=False) if careful else code

    @property
    def meets(self) -> int:
        """Input rows that a tile meets, counted in steps of the dilation, in all slices that the kernel does."""
        return self.depth * self.slice_rows

    @property
    def slice_rows(self) -> int:
        """Input rows that a tile meets in one slice."""
        return (self.rows - 1) * self.row_step + self.kernel[0] // self.depth

    def pairs(self, i: int) -> list[tuple[int, int]]:
        """The rows of the tile that input row i belongs to, each with the kernel row that it is under."""
        height = self.kernel[0] // self.depth
        z, row = divmod(i, self.slice_rows)
        found = [(m, row - m * self.row_step) for m in range(self.rows)]
        return [(m, z * height + r) for m, r in found if 0 <= r < height]

    @property
    def together(self) -> int:
        """Kernel columns that share what is loaded: with a stride of 2, neighbours."""
        return 2 if self.stride == 2 and self.dilation == 1 else 1

    @property
    def column(self) -> int:
        """Products and loads of a tile under one kernel column."""
        return self.vectors * (self.rows * self.kernel[0] + self.meets * min(self.stride, 8))

    @property
    def unrolled(self) -> bool:
        """Whether the columns of the kernel are written out."""
        return self.column * self.kernel[1] <= MOST_UNROLLED

    @property
    def written(self) -> int:
        """Products and loads that are written out for one kind of band."""
        return self.column * (self.kernel[1] if self.unrolled else self.together) * (self.edges + self.inner)

    def present(self, kind: Kind | None) -> range:
        """The input rows of a band that are not outside, or may not be."""
        above, below = kind or (0, 0)
        return range(above, self.meets - below)

    def chunks(self, kind: Kind | None, target: targets.Target) -> list[range]:
        """The kernel's rows that meet a row of the plane, in chunks as equal as can be."""
        met = sorted({r for i in self.present(kind) for _, r in self.pairs(i)})
        return cut(met[0], met[-1] + 1, most_weights(target, self.rows * self.vectors)) if met else []

    def input_rows(self, chunk: Sequence[int], kind: Kind | None) -> list[int]:
        """The input rows that a chunk of kernel rows meets, counted from the first that the whole kernel does."""
        return [i for i in self.present(kind) if any(r in chunk for _, r in self.pairs(i))]


def most_weights(target: targets.Target, sums: int) -> int:
    """Return how many weights of one column are kept in registers beside the sums.

    With 16 registers, 10 sums and 5 weights are 8 to 12 % faster than 8 and 7: the products of 8 sums that wait for
    each other take just as long as two units are busy with them, and every delay counts.
    """
    return max(LEAST_WEIGHTS, min(7, 15 - sums)) if target.vector_registers == 16 else 15


def cut(first: int, end: int, most: int) -> list[range]:
    """Cut a range into the fewest parts of at most `most`, as equal as can be."""
    count = -(-(end - first) // most)
    ends = [first + (end - first) * i // count for i in range(count + 1)]
    return [range(*pair) for pair in itertools.pairwise(ends)]


def most_rows(target: targets.Target, kernel_height: int, vectors: int) -> int:
    """Return how many rows a tile may have: sums and a chunk's weights fit the registers, or nearly."""
    weights = 15 if target.vector_registers > 16 else LEAST_WEIGHTS
    chunk = len(cut(0, kernel_height, weights)[-1])
    return max(1, min(MOST_ROWS, (target.vector_registers - chunk) // vectors))
