"""The errors that the service answers with; `http/problems.py` turns each into its response."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

MAX_FAULTS = 20
"""Maximum number of invalid inputs listed for one request."""

_SHOWN_CHARS = 100


def shown(text: str) -> str:
    """Shorten a client's text to at most `_SHOWN_CHARS` characters, plus an ellipsis, for an error message."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


@dataclass(frozen=True)
class InputFault:
    """One invalid query parameter, form field or header.

    Attributes:
        location: the part of the request that holds it.
        name: name of the parameter, field or header.
        value: value as sent; None if it is missing or not text.
        accepted: the accepted values, in words.
    """

    location: Literal["query", "form", "header"]
    name: str
    value: str | None
    accepted: str


class ServiceError(Exception):
    """An error that the service answers with a problem document; the message is its `detail`.

    ServiceError
    ├── MalformedBody         400  the body is not well-formed multipart/form-data, or ends too early
    ├── EmptyUpload           400  the body or the file in it is empty
    ├── InvalidInference      400  not a valid request of the Open Inference Protocol
    ├── Unauthorized          401  the API key is missing or unknown
    ├── Forbidden             403  the API key lacks the required scope
    ├── UnknownModel          404  the model or version in the path is not served
    ├── NotAcceptable         406  the Accept header allows none of the answer formats
    ├── UploadTimeout         408  the body did not arrive in time
    ├── ReleaseRefused        409  the release that `Settings.model` now points to is refused
    ├── UploadTooLarge        413  more bytes than `Settings.max_bytes`
    ├── TooManyPixels         413  more pixels than `Settings.max_pixels`
    ├── UnsupportedMediaType  415  the declared type of the body is not accepted
    ├── ImageNotRecognized    415  the data does not begin with a known image signature
    ├── InvalidParameter      422  a query parameter or header is unknown, repeated or out of range
    ├── InvalidForm           422  the form is not exactly one file named `image`
    ├── ImageNotDecodable     422  the image format is known, but decoding fails
    ├── InternalError         500  an error in the service
    ├── NotAlive              503  the threads have made no progress for `Settings.watchdog_s`
    ├── NotReady              503  the model is not loaded yet, or the service is stopping
    ├── ServiceOverloaded     503  the queue is full or too long for the deadline, or bodies fill the memory
    └── DeadlineExceeded      504  the request was admitted but did not finish by its deadline

    Attributes:
        detail: description of the fault.
        errors: the invalid parameters, form fields or headers.
        retry_after_s: whole seconds after which to retry; None if a retry does not help.
    """

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]
    example: ClassVar[str]
    retry_after_s: int | None = None

    def __init__(self, detail: str, *, errors: Sequence[InputFault] = (), retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class MalformedBody(ServiceError):
    """The body is not well-formed multipart/form-data, or the connection closed before its end."""

    status, slug, title = 400, "malformed-body", "Malformed body"
    example = "multipart/form-data: the closing boundary is missing"


class EmptyUpload(ServiceError):
    """There is no body, or the file in it has no bytes."""

    status, slug, title = 400, "empty-upload", "Empty upload"
    example = "the body is empty; send an image"


class InvalidInference(ServiceError):
    """The body is not a request of the Open Inference Protocol, or a tensor does not match its declared shape."""

    status, slug, title = 400, "invalid-inference", "Invalid inference request"
    example = "inputs[0].shape: [2], but there are 3 elements"


class Unauthorized(ServiceError):
    """The API key is missing or unknown."""

    status, slug, title = 401, "unauthorized", "API key required"
    example = "an API key with the scope detect is required; send it as Authorization: Bearer KEY"


class Forbidden(ServiceError):
    """The API key lacks the required scope."""

    status, slug, title = 403, "forbidden", "API key lacks the scope"
    example = "the API key of alice lacks the scope admin; it has detect"


class UnknownModel(ServiceError):
    """The path names a model or a version that is not served."""

    status, slug, title = 404, "unknown-model", "Unknown model"
    example = "no model 'cards' is served; GET /models shows the served model"


class NotAcceptable(ServiceError):
    """The Accept header allows none of the answer formats."""

    status, slug, title = 406, "not-acceptable", "Not acceptable"
    example = "header Accept: text/html allows no answer format; available: application/json, image/jpeg, text/csv"


class UploadTimeout(ServiceError):
    """The body did not arrive within `Settings.upload_timeout_s`."""

    status, slug, title = 408, "upload-timeout", "Upload took too long"
    example = "the body did not arrive within 60 s; 81920 bytes were received"


class ReleaseRefused(ServiceError):
    """The release that `Settings.model` now points to is refused. The model served so far stays in use."""

    status, slug, title = 409, "release-refused", "Release refused"
    example = "model_store/releases/dice/6/model.pt: sha256 is 9f86..., the manifest says ab12..."


class UploadTooLarge(ServiceError):
    """The body has more bytes than `Settings.max_bytes`."""

    status, slug, title = 413, "upload-too-large", "Upload too large"
    example = "the body has 31457280 bytes, the limit is 20971520"


class TooManyPixels(ServiceError):
    """The decoded image would hold more pixels than `Settings.max_pixels`."""

    status, slug, title = 413, "image-too-large", "Image too large"
    example = "image has 81000000 px, the limit is 50000000"


class UnsupportedMediaType(ServiceError):
    """The body's declared Content-Type is not accepted."""

    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"
    example = "Content-Type application/json is not accepted; accepted: multipart/form-data, image/*"


class ImageNotRecognized(ServiceError):
    """The upload does not begin with the signature of a known image format."""

    status, slug, title = 415, "unknown-image-format", "Unknown image format"
    example = "no signature of JPEG, PNG, WEBP, BMP, TIFF, GIF, AVIF; the data begins with 25 50 44 46 2d 31 2e 37"


class InvalidParameter(ServiceError):
    """A query parameter or header is unknown, repeated or out of range."""

    status, slug, title = 422, "invalid-parameter", "Invalid parameter"
    example = "query parameter score_threshold: Input should be less than or equal to 1"


class InvalidForm(ServiceError):
    """The form is not exactly one file named `image`."""

    status, slug, title = 422, "invalid-form", "Invalid form"
    example = "form field image: exactly one file, this form has none"


class ImageNotDecodable(ServiceError):
    """The format is known, but the data does not decode."""

    status, slug, title = 422, "broken-image", "Broken image"
    example = "the image does not decode: image file is truncated"


class InternalError(ServiceError):
    """An error in the service. The log has the reason under the request id."""

    status, slug, title = 500, "internal-error", "Internal error"
    example = "the service failed; its log has the reason under this request id"


class NotAlive(ServiceError):
    """The threads have made no progress for longer than `Settings.watchdog_s`, or the device is lost."""

    status, slug, title = 503, "not-alive", "Not alive"
    example = "no progress for 61 s, the limit is 60 s"


class NotReady(ServiceError):
    """The model is not loaded yet, or the service is stopping."""

    status, slug, title = 503, "not-ready", "Not ready"
    example = "no model is loaded"
    retry_after_s = 1


class ServiceOverloaded(ServiceError):
    """The queue is full or too long for the deadline, or all bodies together exceed `Settings.max_held_bytes`."""

    status, slug, title = 503, "overloaded", "ServiceOverloaded"
    example = "64 requests are waiting; try again in 3 s"
    retry_after_s = 1


class DeadlineExceeded(ServiceError):
    """The request was admitted but did not finish within `Settings.request_timeout_s` or its X-Request-Timeout."""

    status, slug, title = 504, "deadline-exceeded", "Deadline exceeded"
    example = "not finished within 30 s"
    retry_after_s = 1


class ClientGone(Exception):
    """The client closed its connection before its request was answered. No answer is sent."""

    status = 499
    """Status shown in the log and the metrics, as in nginx."""
