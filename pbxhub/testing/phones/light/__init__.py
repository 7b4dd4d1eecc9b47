"""Lightweight SIP phones: hundreds in one process. They play no audio, but send their number as a voice, so that each
phone knows whom it hears.

Why no library: aiosipua 0.7, the only maintained one in pure Python, does not repeat requests over UDP and cannot
redirect (its refusals have no Contact header). The others are unmaintained, use a thread per call, or need a C stack. A
scripted phone needs only a few hundred lines. baresip (phones/softphone.py) is for tests of audio.
"""
