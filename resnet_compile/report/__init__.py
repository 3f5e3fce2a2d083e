"""Results as documents and as tables; knows results and nothing of how they came about."""
