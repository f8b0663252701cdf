"""The local cloud: what the engine deploys, served on this machine."""
