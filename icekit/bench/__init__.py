"""Engines beside each other: programs that make one peer connection each, and the calls between them."""
