"""The parts of the OpenAPI document that concern all endpoints, and its completion."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from app.http.access import KeyCheck
from app.openapi.inference import add_request_schemas, name_served_model
from app.openapi.responses import add_error_schemas
from model_store.model_info import ModelInfo

TAGS = [
    {"name": "Detection", "description": "Send photos, get boxes."},
    {"name": "Open Inference Protocol", "description": "The same detection over the protocol of KServe and Triton."},
    {"name": "Models", "description": "The served model."},
    {"name": "Health", "description": "Health checks and metrics."},
]
INTRODUCTION = """
Rendersight detects objects in photos. `POST /detect` takes one image and returns the class, score and box of each
object.

```sh
curl -F image=@photo.jpg 'http://127.0.0.1:8000/detect?score_threshold=0.7'
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/detect
curl -F image=@photo.jpg -o boxes.jpg 'http://127.0.0.1:8000/detect?format=jpeg'
curl -F image=@a.jpg -F image=@b.jpg http://127.0.0.1:8000/detect/batch
```

- **Boxes** are `[x0, y0, x1, y1]` in pixels of the upright photo, origin top-left.
- **Selection**: `iou_threshold` first removes the lower-scored of two overlapping objects. Then the score must be
  strictly above `score_threshold` (`GET /models` shows the default), then `labels` filters, and `max_detections` cuts.
- **Formats**: the answer is JSON. Use `format` or the header Accept to get the photo with its boxes, an annotation file
  in LabelMe or COCO format, or CSV.
- **Errors** are `application/problem+json` (RFC 9457), also for an unknown path (404) or a wrong method (405).
  `status`, `title` and `detail` explain the error, `type` identifies it for programs, and `errors` lists the invalid
  parameters. At and below `/v2` errors are `{"error": "..."}`, as that protocol defines.
- **Request ids**: every answer carries `X-Request-ID`: yours if you sent one, else a new one. The service's log has it
  too.
"""

_SCHEMES = {"key": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer KEY`."}}


def complete(document: dict[str, Any], routers: Iterable[APIRouter], *, has_keys: bool) -> None:
    """Add what FastAPI cannot know: the schemas of errors and of /v2, and the operations that require a key.

    Args:
        document: the document that FastAPI made.
        routers: the app's routers.
        has_keys: whether the service has API keys.
    """
    add_error_schemas(document)
    add_request_schemas(document)
    document["components"]["securitySchemes"] = _SCHEMES
    checks = {
        route.operation_id: depends.dependency
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for depends in route.dependencies
        if isinstance(depends.dependency, KeyCheck)
    }
    for item in document["paths"].values():
        for operation in item.values():
            check = checks.get(operation["operationId"])
            if check is not None and (has_keys or check.always):
                operation["security"] = [{name: []} for name in _SCHEMES]
                operation["description"] += f"\n\nRequires an API key with the scope `{check.scope}`."
            for parameter in operation.get("parameters", []):
                _remove_null(parameter["schema"])


def _remove_null(schema: dict[str, Any]) -> None:
    """Remove null from a parameter's schema: clients omit a query parameter or header, they cannot send null."""
    if "anyOf" in schema:
        kinds = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
        schema.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def name_served_classes(document: dict[str, Any], info: ModelInfo) -> None:
    """Write the served model's name, version and classes into the schemas."""
    for path in ("/detect", "/detect/batch"):
        parameters = document["paths"][path]["post"]["parameters"]
        labels = next(item for item in parameters if item["name"] == "labels")
        labels["schema"]["items"]["enum"] = list(info.class_names)
    name_served_model(document, info)
