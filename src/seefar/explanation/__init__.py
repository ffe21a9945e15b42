"""Explanation: the occlusion test of each mistake, its health badge, and the rates over all of them."""
