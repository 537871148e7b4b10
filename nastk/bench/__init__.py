"""Sample efficiency: predictors, searchers and proxies side by side on tables, over many seeds."""
