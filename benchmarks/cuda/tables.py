"""Markdown tables that print each row as soon as it is measured."""

import time
from collections.abc import Callable, Sequence


class Report:
    """Tables on standard output, printed row by row until the time budget is used up.

    Attributes:
        faults: rows that failed or are beyond their limits.
        left_out: rows skipped for lack of time.
    """

    def __init__(self, budget_s: float) -> None:
        """Start the clock of the time budget."""
        self.faults: list[str] = []
        self.left_out = 0
        self._budget_s = budget_s
        self._ends_s = time.monotonic() + budget_s

    def table(self, title: str, *columns: str) -> None:
        """Print the title and the header of a table."""
        print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)

    def row(self, *cells: str, measure: Callable[[], Sequence[str]]) -> None:
        """Measure and print a row; a failing row prints its error, and later rows still run."""
        if time.monotonic() > self._ends_s:
            self.left_out += 1
            measured: Sequence[str] = [f"left out: the budget of {self._budget_s:g} s is used up"]
        else:
            try:
                measured = measure()
            except Exception as error:
                self.faults.append(f"{' '.join(cells)} failed")
                measured = [f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"]
        print(f"| {' | '.join((*cells, *measured))} |", flush=True)

    def close(self) -> int:
        """Print the faults and skipped rows, and return the exit status."""
        if self.left_out:
            print(f"\n{self.left_out} rows were left out: the budget of {self._budget_s:g} s was used up.")
        print(f"\n{'; '.join(self.faults) or 'Every row that was measured is within its limits'}.", flush=True)
        return 1 if self.faults else 0
