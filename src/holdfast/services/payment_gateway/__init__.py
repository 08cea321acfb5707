"""payment-gateway: charges and refunds, each exactly once; answers `checkout.payment-command`."""
