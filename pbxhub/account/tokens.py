"""Tokens that open something: keys of the API, links. Only their hash is kept."""

import hashlib


def hash_of(token: str) -> str:
    """SHA-256 in hex. It is looked up by index, so nothing is compared character by character."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
