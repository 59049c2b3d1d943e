"""pulse measured beside its peers: ``python -m benchmarks``. ``docs/benchmarks.md`` explains."""
