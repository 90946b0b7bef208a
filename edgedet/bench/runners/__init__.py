"""What runs queries, one file for each inference engine."""
