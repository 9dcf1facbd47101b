"""What breaks around a daemon on RabbitMQ, and that nothing is lost by it: real processes, a broker of their own.

publisher.py -- confirmed --> RabbitMQ <-- network.py (cut, frozen, slow) --> daemons of application/
      |                                                                              |
      +------- published -------> ledger.py <-------- effects, dead letters ---------+

laboratory.py has all of it, and `recovered`, with which every test ends.
"""
