"""Random calls with an oracle: phones play random scripts on a real Asterisk, and what they saw is compared with the
stages that the hub reported.

draw makes a script (what is done) from a seed; play runs it with the phones of a cell (one small company); truth
derives the stages from what the phones saw; listening collects the hub's stages; compare lists the differences; reduce
finds the shortest script that still differs; recordings saves it.
"""
