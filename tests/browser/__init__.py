"""The page in Chromium; a package, so that what it starts ends with its last test and not with the whole run."""
