"""Networks: plain modules that get numbers, no configuration and no device."""
