"""Certificates and private keys in PEM form, as users paste them: what is wrong with them, in a sentence."""

import re
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pbxhub.translatable import say

LONGEST_PEM = 256 * 1024  # letters: the authorities of a whole operating system fit
_CERTIFICATES = re.compile(r"\s*(-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+")
_KEY = re.compile(r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----[^-]+-----END ([A-Z]+ )?PRIVATE KEY-----")


@lru_cache(maxsize=100)
def certificates_error(pem: str) -> str:
    """Why a text is not one or more certificates; "" when it is."""
    if len(pem) > LONGEST_PEM:
        return say("has %(n)s letters; give at most %(most)s", n=len(pem), most=LONGEST_PEM)
    if not _CERTIFICATES.fullmatch(pem):
        return say("is not a certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return say("begins and ends like a certificate, but what is between cannot be read; copy it again, all of it")
    return ""


def key_error(certificate: str, key: str) -> str:
    """Why a text is not the private key of a certificate; "" when it is.

    certificate: passed certificates_error; of several the first counts, the others lead from it to an authority.
    """
    found = _KEY.search(key)
    if not found:
        return say("is not a private key in PEM form (-----BEGIN PRIVATE KEY-----)")
    if "ENCRYPTED" in found.group():
        return say("is protected by a password; give it without one (openssl pkey -in key.pem)")
    try:
        public = load_pem_private_key(found.group().encode(), None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return say("begins and ends like a private key, but what is between cannot be read; copy it again, all of it")
    first = x509.load_pem_x509_certificates(certificate.encode())[0]
    shape = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        fits = public.public_bytes(*shape) == first.public_key().public_bytes(*shape)
    except (ValueError, UnsupportedAlgorithm):
        return say("belongs to a certificate of a kind that the hub cannot read")
    return "" if fits else say("does not fit the certificate; give the key that the certificate was made for")


def bare_key(key: str) -> str:
    """The key alone, without what some programs write around it; passed key_error."""
    found = _KEY.search(key)
    return f"{found.group()}\n" if found else key
