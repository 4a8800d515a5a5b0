"""Ray Serve: `python -m benchmarks.frameworks.rayserve`."""

import os
import signal
from typing import Any

from fastapi import FastAPI, UploadFile
from ray import serve

from benchmarks.frameworks.network import PORT, from_environment

app = FastAPI()


@serve.deployment(max_ongoing_requests=8)
@serve.ingress(app)
class Detect:
    """One replica, Ray Serve's default; synchronous routes run on threads."""

    def __init__(self) -> None:
        self.network = from_environment()

    @app.post("/detect")
    def detect(self, image: UploadFile) -> dict[str, Any]:
        """Run the network."""
        return self.network(image.file)

    @app.get("/readyz")
    def ready(self) -> dict[str, str]:
        """Report that the replica is serving."""
        return {"status": "ok"}


if __name__ == "__main__":
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ[PORT])})
    serve.run(Detect.bind())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
