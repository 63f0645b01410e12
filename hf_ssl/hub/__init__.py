"""What leaves the machine: model cards and uploads."""
