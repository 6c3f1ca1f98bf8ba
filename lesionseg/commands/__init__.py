"""The commands: each parses, calls and prints; what needs torch is imported inside them."""
