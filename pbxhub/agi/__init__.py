"""FastAGI: while a call waits in the dialplan, the hub sends a webhook; its answer decides what happens to the call.

panoramisk's fast_agi is not used, because its faults cannot be avoided from outside. Its handler reads the header in a
loop without limits of size or time, and never leaves the loop when the peer closes the connection. It treats an
unrequested line `HANGUP` as the answer to the previous command, so all later answers are off by one. A handler that
waits does not learn that the caller has hung up. Without these parts only a decode and a split would remain.
"""
