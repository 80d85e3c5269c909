"""Tests: one folder a package, oracles and golden arrays beside them."""
