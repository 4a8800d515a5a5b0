"""LitServe: `python -m benchmarks.frameworks.lit`."""

import os
from typing import Any

import litserve
from fastapi import Request

from benchmarks.frameworks.network import PORT, from_environment


class Detect(litserve.LitAPI):
    """One worker process, LitServe's default on a CPU."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Load the network."""
        self.network = from_environment()

    def decode_request(self, request: Request) -> Any:
        """Return the file of the form."""
        return request["image"].file

    def predict(self, x: Any) -> dict[str, Any]:
        """Run the network."""
        return self.network(x)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return the answer unchanged."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Detect(api_path="/detect"), accelerator="cpu", healthcheck_path="/readyz", timeout=120)
    server.run(host="127.0.0.1", port=int(os.environ[PORT]), log_level="warning", generate_client_file=False)
