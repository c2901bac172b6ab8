"""Which claims hold."""
