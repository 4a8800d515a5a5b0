"""The baseline, a service written without this project: `BENCHMARK_MODEL=dice python -m benchmarks.naive`.

It is the loop of the 2021 notebook in a plain FastAPI route: Pillow, torchvision's own network in fp32, no limits, one
image at a time on a thread of Starlette's pool. Weights and uvicorn are those of the service it is compared with.
"""

import os
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile

from benchmarks.frameworks.network import PORT, from_environment


def create_app() -> FastAPI:
    """Build the service with the model that the environment names."""
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
