"""The HTTP layer: uploads and forms, problem documents, API keys, middleware, the protocol of /v2."""
