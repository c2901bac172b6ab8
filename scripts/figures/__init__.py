"""Figures from run folders, and drawings of the method."""
