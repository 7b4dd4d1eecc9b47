"""Checks certificates and private keys in PEM that users paste; says in a sentence what is wrong."""

import re
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pbxhub.translatable import say

LONGEST_PEM = 256 * 1024  # characters; enough for all certificate authorities of an operating system
_CERTIFICATES = re.compile(r"\s*(-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+")
_KEY = re.compile(r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----[^-]+-----END ([A-Z]+ )?PRIVATE KEY-----")


@lru_cache(maxsize=100)
def certificates_error(pem: str) -> str:
    """Why a text does not consist of certificates; "" when it does."""
    if len(pem) > LONGEST_PEM:
        return say("has %(n)s characters; give at most %(most)s", n=len(pem), most=LONGEST_PEM)
    if not _CERTIFICATES.fullmatch(pem):
        return say("is not a certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return say("begins and ends like a certificate, but the text between cannot be read; copy all of it again")
    return ""


def key_error(certificate: str, key: str) -> str:
    """Why a text is not the private key of a certificate; "" when it is.

    certificate: has passed certificates_error. The first of several counts; the others are its chain.
    """
    found = _KEY.search(key)
    if not found:
        return say("is not a private key in PEM form (-----BEGIN PRIVATE KEY-----)")
    if "ENCRYPTED" in found.group():
        return say("is protected by a password; remove it first (openssl pkey -in key.pem)")
    try:
        public = load_pem_private_key(found.group().encode(), None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return say("begins and ends like a private key, but the text between cannot be read; copy all of it again")
    first = x509.load_pem_x509_certificates(certificate.encode())[0]
    shape = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        fits = public.public_bytes(*shape) == first.public_key().public_bytes(*shape)
    except (ValueError, UnsupportedAlgorithm):
        return say("belongs to a kind of certificate that the hub cannot read")
    return "" if fits else say("does not match the certificate; give the key that the certificate was issued for")


def bare_key(key: str) -> str:
    """The key without the text that some programs write around it. key: has passed key_error."""
    found = _KEY.search(key)
    return f"{found.group()}\n" if found else key
