"""Requests of the Open Inference Protocol, and its answers read, by its own words and not by the service's code."""

import base64
import json
import struct
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from tests.app.fakes import encoded

INFER = "/v2/models/fruit/infer"
LENGTH = "Inference-Header-Content-Length"
DTYPES = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8"), "INT32": np.dtype("<i4")}


def tensor(count: int, **members: Any) -> dict[str, Any]:
    return {"name": "images", "shape": [count], "datatype": "BYTES", **members}


def json_request(*images: bytes, **members: Any) -> dict[str, Any]:
    """Return a request with the images in the JSON."""
    return {"inputs": [tensor(len(images), data=[base64.b64encode(one).decode() for one in images])], **members}


def elements(*images: bytes) -> bytes:
    """Return images as binary tensor data."""
    return b"".join(struct.pack("<I", len(one)) + one for one in images)


def binary_request(*images: bytes, **members: Any) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request with the images behind the JSON."""
    behind = elements(*images)
    inputs = [tensor(len(images), parameters={"binary_data_size": len(behind)})]
    text = json.dumps({"inputs": inputs, **members}).encode()
    return text + behind, {LENGTH: str(len(text)), "Content-Type": "application/octet-stream"}


def outputs_of(response: Any) -> dict[str, NDArray[Any]]:
    """Return the outputs of an answer by name, in their types and shapes, wherever they stand in it."""
    assert response.status_code == 200, response.text
    end = int(response.headers.get(LENGTH, len(response.content)))
    text, behind = response.content[:end], response.content[end:]
    assert response.headers["content-type"] == ("application/octet-stream" if behind else "application/json")
    found = {}
    for output in json.loads(text)["outputs"]:
        dtype = DTYPES[output["datatype"]]
        if "parameters" in output:
            assert "data" not in output
            size = output["parameters"]["binary_data_size"]
            flat, behind = np.frombuffer(behind[:size], dtype), behind[size:]
        else:
            flat = np.array(output["data"], dtype)
        found[output["name"]] = flat.reshape(output["shape"])
    assert not behind
    return found


def infer(client: TestClient, *images: bytes, **members: Any) -> Any:
    return client.post(INFER, json=json_request(*images, **members))


def error_of(response: Any) -> str:
    """Return the text of an error, which has the protocol's shape and nothing else."""
    assert response.status_code >= 400
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)
    assert "\n" not in body["error"]
    return str(body["error"])


def refused(client: TestClient, body: Any = None, headers: Any = None, **members: Any) -> tuple[int, str]:
    if body is None:
        body = json.dumps({"inputs": [tensor(1, data=["AAAA"])], **members})
    response = client.post(INFER, content=body, headers=headers)
    return response.status_code, error_of(response)


def wide(width: int) -> bytes:
    return encoded(Image.new("RGB", (width, 20)))
