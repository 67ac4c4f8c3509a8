"""The delivery ledger: a small transactional store of its own beside the warehouse, the one thing nobody can derive.

tables       its tables, made from the contracts of conversions.conversion, delivery.attempt, delivery.receipt
store        SQLite (WAL, every commit on disk) or PostgreSQL, through SQLAlchemy; transactions
transitions  which state may follow which
moves        the only writer of states
entries      what is due, in flight, sent; receipts: what platforms said later
mark         how far the ledger had come when bytes last left, kept outside of it
safety       whether it may be sent from at all
"""
