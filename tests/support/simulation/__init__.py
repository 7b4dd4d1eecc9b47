"""A deterministic simulation of tracker and outbox: one seed decides everything that may go wrong.

`python -m tests.support.simulation --seed 7 --steps 100000`. What is real: the tracker, the queue of stages, publish,
claim, record, the worker's rounds, and SQLite. What is stubbed, each at its border: clocks, ids and chance (stubs.py),
the network (network.py), the PBX (phone_calls.py), and what the database answers (faults.py). rules.py says what must
hold after each step; planted_bugs.py has the bugs that the rules must find."""
