"""How fast layers and state vectors are, ours and others', timed side by side once their numbers are right.

Nothing is imported here, so that workers load what they work with and no more.
"""
