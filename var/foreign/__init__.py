"""What comes from outside - texts, pictures, archives, weights - is opened and parsed here and nowhere else.

Each kind has one opener, which holds all its rules: a regular file, of a bounded size, of the right shape. Whatever
else it is, and whatever a library raises for it, becomes a `UserError` of one line.
"""
