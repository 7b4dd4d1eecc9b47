"""FastAGI: a call waits, the hub asks a webhook, the answer decides.

Not panoramisk's fast_agi. It was looked at and cannot be guarded from outside: its handler reads the header itself in
a loop that never ends once the peer has closed, without any limit of size or time; it takes a line `HANGUP`, which
Asterisk sends unasked, for the answer to the command before, so that all later answers are off by one; and a waiting
endpoint is not told that the caller is gone. What is left beside these is one decode and one split.
"""
