"""The commands: thin layers over the public API."""
