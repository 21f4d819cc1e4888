"""AWS: who we are to it, its event bus, and what its answers mean."""
