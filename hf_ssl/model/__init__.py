"""From a name to logits: loading, the forward pass, the moving average."""
