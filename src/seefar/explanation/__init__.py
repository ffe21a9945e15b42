"""Explanation: class activation maps, signed and in logit units."""
