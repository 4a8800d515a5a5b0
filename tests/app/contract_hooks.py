"""What schemathesis must be told: the bytes that a body takes are images, which no schema can say."""

import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis.openapi import format as register_format

from rendersight.images import WEB_FORMATS
from tests.app.fakes import encoded

IMAGES = [encoded(Image.linear_gradient("L").convert("RGB").resize((8, 6)), name) for name in WEB_FORMATS]

register_format("binary", st.sampled_from(IMAGES))

for name in WEB_FORMATS:
    schemathesis.openapi.media_type(f"image/{name.lower()}", st.sampled_from(IMAGES))
