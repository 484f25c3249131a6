"""How: phases, batches and the skorch net."""
