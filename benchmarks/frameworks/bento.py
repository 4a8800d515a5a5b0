"""BentoML: `bentoml serve benchmarks.frameworks.bento:Detect`."""

from pathlib import Path
from typing import Any

import bentoml

from benchmarks.frameworks.network import from_environment


@bentoml.service(traffic={"timeout": 120})
class Detect:
    """One worker process, BentoML's default."""

    def __init__(self) -> None:
        self.network = from_environment()

    @bentoml.api(route="/detect")
    def detect(self, image: Path) -> dict[str, Any]:
        """Run the network."""
        with image.open("rb") as file:
            return self.network(file)
