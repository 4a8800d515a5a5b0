"""What comes before and around an answer: uploads and forms, problems, API keys, middleware, the protocol of /v2."""
