"""Why an algorithm was picked."""

from __future__ import annotations

from collections.abc import Mapping
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


LEAST_SHOWN = 0.5e-6  # seconds: what is less is no thousandth of a millisecond


@dataclass(frozen=True)
class Candidate:
    """One algorithm's case.

    ``reason`` is None where nothing but its time speaks against it. The figures are None where it
    does not compute the problem; where it is too inaccurate or takes too much memory they are there.
    ``predicted_terms`` are the seconds of what the predicted time is spent on, whose sum it is.
    ``measured_seconds`` is there where :func:`fastconv.tune` has found it, with this number of threads.
    """

    name: str
    reason: str | None
    workspace_bytes: int | None
    predicted_seconds: float | None
    error_bound: float | None
    measured_seconds: float | None
    predicted_terms: Mapping[str, float] | None

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

    @property
    def made_of(self) -> str:
        """What the predicted time is made of, in milliseconds, the most of it first; what is next to nothing is not."""
        terms = sorted((self.predicted_terms or {}).items(), key=lambda term: -term[1])
        return " + ".join(f"{seconds * 1e3:.3f} {name}" for name, seconds in terms if seconds >= LEAST_SHOWN)


@dataclass(frozen=True)
class Explanation:
    """The pick for a problem within a tolerance, and every candidate in the table's order."""

    problem: Problem
    tolerance: float
    picked: str
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        """The problem and the tolerance, then each candidate, the pick marked, and the sum that its prediction is."""
        lines = [f"{self.problem} with tolerance {self.tolerance:.3g}"]
        for candidate in self.candidates:
            mark = "*" if candidate.name == self.picked else " "
            lines.append(f"{mark} {candidate}")
            if candidate.made_of:
                lines.append(f"      {candidate.made_of}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """Return the explanation in types that JSON has."""
        return {
            "problem": str(self.problem),
            "tolerance": self.tolerance,
            "picked": self.picked,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }
