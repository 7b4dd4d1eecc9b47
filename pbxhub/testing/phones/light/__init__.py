"""SIP phones that cost next to nothing: hundreds of them in one process, without audio but with a voice that tells who
is heard.

Why not a library: the only kept one in pure Python, aiosipua 0.7, repeats no request over UDP and cannot redirect (its
refusals bear no Contact); the others are dead, run a thread for each call or bring a C stack. A phone of a scripted
call needs a few hundred lines. baresip (phones/softphone.py) stays for what is about audio.
"""
