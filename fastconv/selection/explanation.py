"""Why an algorithm was picked."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from fastconv.problem import Problem


def too_inaccurate(error_bound: float, tolerance: float) -> str | None:
    """Return None if a bound is within the tolerance, else the sentence that it is not."""
    if error_bound <= tolerance:
        return None
    return f"error bound {error_bound:.3g} is above the tolerance {tolerance:.3g}"


def too_large(workspace: int, limit: int | None) -> str | None:
    """Return None if bytes of scratch are within the limit, else the sentence that they are not."""
    if limit is None or workspace <= limit:
        return None
    return f"workspace of {workspace} bytes is above the limit of {limit}"


@dataclass(frozen=True)
class Candidate:
    """One algorithm's case.

    ``reason`` is None where nothing but its time speaks against it. The figures are None where it
    does not compute the problem; where it is too inaccurate or takes too much memory they are there.
    ``measured_seconds`` is there where :func:`fastconv.tune` has found it, with this number of threads.
    """

    name: str
    reason: str | None
    workspace_bytes: int | None
    predicted_seconds: float | None
    error_bound: float | None
    measured_seconds: float | None

    def __str__(self) -> str:
        """One line."""
        if self.predicted_seconds is None or self.workspace_bytes is None:
            return f"{self.name}: no: {self.reason}"
        measured = "" if self.measured_seconds is None else f"measured {self.measured_seconds * 1e3:.3f} ms, "
        figures = (
            f"{measured}predicted {self.predicted_seconds * 1e3:.3f} ms, "
            f"workspace {self.workspace_bytes / 1024:.0f} KiB, "
            f"relative error below {self.error_bound:.3g}"
        )
        return f"{self.name}: {figures if self.reason is None else f'{figures}; {self.reason}'}"


@dataclass(frozen=True)
class Explanation:
    """The pick for a problem within a tolerance, and every candidate in the table's order."""

    problem: Problem
    tolerance: float
    picked: str
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        """The problem and the tolerance, then a line for each candidate, the pick marked."""
        lines = [f"{self.problem} with tolerance {self.tolerance:.3g}"]
        for candidate in self.candidates:
            mark = "*" if candidate.name == self.picked else " "
            lines.append(f"{mark} {candidate}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """Return the explanation in types that JSON has."""
        return {
            "problem": str(self.problem),
            "tolerance": self.tolerance,
            "picked": self.picked,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }
