"""The OpenAPI document: what the code of the routes and schemas does not say by itself."""
