"""Why an algorithm was picked."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from fastconv.problem import ConvProblem


@dataclass(frozen=True)
class Candidate:
    """One algorithm's case; the figures are None where it does not compute the problem."""

    name: str
    reason: str | None
    workspace_bytes: int | None
    predicted_seconds: float | None
    error_bound: float | None

    def __str__(self) -> str:
        """One line."""
        if self.predicted_seconds is None or self.workspace_bytes is None:
            return f"{self.name}: no: {self.reason}"
        return (
            f"{self.name}: predicted {self.predicted_seconds * 1e3:.3f} ms, "
            f"workspace {self.workspace_bytes / 1024:.0f} KiB, "
            f"relative error below {self.error_bound:.0e}"
        )


@dataclass(frozen=True)
class Explanation:
    """The pick for a problem, and every candidate in the table's order."""

    problem: ConvProblem
    picked: str
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        """The problem, then a line for each candidate, the pick marked."""
        lines = [str(self.problem)]
        for candidate in self.candidates:
            mark = "*" if candidate.name == self.picked else " "
            lines.append(f"{mark} {candidate}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """Return the explanation in types that JSON has."""
        return {
            "problem": str(self.problem),
            "picked": self.picked,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }
