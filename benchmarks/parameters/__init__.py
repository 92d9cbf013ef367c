"""How many parameters every model has for the same inputs and outputs, by formula and by counting, and their memory."""
