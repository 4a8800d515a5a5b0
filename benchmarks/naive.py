"""The service that one would write without this project: `python -m benchmarks.naive MODEL PORT`.

The loop of the 2021 notebook in a plain FastAPI route: Pillow, torchvision's own network in fp32, no limits, one
image at a time on a thread of Starlette's pool. Same weights, same uvicorn as the service it is compared with.
"""

import sys
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from torchvision.transforms.functional import to_tensor

from model_store.network import load_network
from model_store.store import DEFAULT_ROOT

THRESHOLD = 0.5


def create_app(model: str, *, store_root: Path = DEFAULT_ROOT) -> FastAPI:
    """Build the service around a release or a bare state dict."""
    loaded = load_network(model, store_root=store_root)
    network = loaded.network.eval()
    names = loaded.card.class_names
    app = FastAPI()

    @app.post("/detect")
    def detect(image: UploadFile) -> dict[str, Any]:
        pixels = to_tensor(Image.open(image.file).convert("RGB"))
        with torch.no_grad():
            (answer,) = network([pixels])
        kept = answer["scores"] > THRESHOLD
        columns = [answer[key][kept].tolist() for key in ("boxes", "labels", "scores")]
        rows = zip(*columns, strict=True)
        return {"detections": [{"box": box, "label": names[label - 1], "score": score} for box, label, score in rows]}

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
