"""checkout-orchestrator: runs CHECKOUT; reads `checkout.checkout-events`, writes the commands."""
