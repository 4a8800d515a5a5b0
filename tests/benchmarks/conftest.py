"""The seeded tiny release of `tests/model_store`."""

from tests.model_store.conftest import (  # noqa: F401 - fixtures
    noise,
    random_network,
    tiny_network,
    tiny_options,
    tiny_store,
)
