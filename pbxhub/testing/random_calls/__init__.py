"""Random calls with an oracle: phones play scripts drawn from a seed on a real Asterisk, and what they saw is held
against what the hub told.

script (what is done) <- draw (from a seed); cell (the phones of one small company) -> play (does the script) -> truth
(the stages that the phones saw); listening (what the hub told) -> compare; reduce (the shortest script that still
disagrees) -> recordings.
"""
