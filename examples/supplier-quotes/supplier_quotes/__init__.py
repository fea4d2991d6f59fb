"""Many suppliers are asked for a quote at once; the best one gets the order, the others are told."""
