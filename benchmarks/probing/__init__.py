"""Probes beside what else fetches URLs: their CPU, and their lateness."""
