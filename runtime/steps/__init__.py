"""How each kind of step is run: what comes in is read from the store, what comes out goes into a folder of it."""
