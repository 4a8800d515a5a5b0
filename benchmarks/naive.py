"""The service that one would write without this project: `BENCHMARK_MODEL=dice python -m benchmarks.naive`.

The loop of the 2021 notebook in a plain FastAPI route: Pillow, torchvision's own network in fp32, no limits, one
image at a time on a thread of Starlette's pool. Same weights, same uvicorn as the service it is compared with.
"""

import os
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile

from benchmarks.frameworks.network import PORT, from_environment


def create_app() -> FastAPI:
    """Build the service around the model that the environment names."""
    network = from_environment()
    app = FastAPI()

    @app.post("/detect")
    def detect(image: UploadFile) -> dict[str, Any]:
        return network(image.file)

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), host="127.0.0.1", port=int(os.environ[PORT]), log_level="warning")
