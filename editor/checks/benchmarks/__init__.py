"""Checks of questions that only benchmark data has. factd's own probes have none of these kinds."""
